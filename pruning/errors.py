"""Everything that can go wrong in pruning.

PruningError
├── LevelError         a level's name that means nothing, or a level that cannot be reached
├── UnknownNameError   no such criterion or granularity
├── TraceError         a network with a part that pruning cannot follow
├── PosteriorError     a posterior that cannot be pruned
├── CalibrationError   a calibration set that is too small for what is asked of it
└── StudyError         a study that cannot be gone on with, or that has not what is asked of it
"""


class PruningError(Exception):
    """Root of pruning's errors."""


class LevelError(PruningError):
    """A level's name that means nothing, or a level that cannot be reached."""


class NotFoundError(PruningError):
    """No such criterion or granularity."""


class TraceError(PruningError):
    """A network with a part that pruning cannot follow."""


class PosteriorError(PruningError):
    """A posterior that cannot be pruned."""


class CalibrationError(PruningError):
    """A calibration set that is too small for what is asked of it."""


class StudyError(PruningError):
    """A study that cannot be gone on with, or that has not what is asked of it."""
