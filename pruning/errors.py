"""Define pruning's exceptions.

PruningError
├── LevelError         an invalid or unreachable pruning level
├── NotFoundError      an unknown criterion, control, granularity, ranking or schedule
├── SettingsError      a setting of fine-tuning or evaluation that is out of range
├── TraceError         a network with an unsupported part
├── PosteriorError     a posterior that cannot be pruned
├── CalibrationError   a calibration set that is too small
├── PublicationError   a version that is not published unless asked for by name
├── MixtureError       runs that cannot be members of one mixture
└── StudyError         a study that is damaged, of another run, or without the requested trial
"""


class PruningError(Exception):
    """Root of pruning's exceptions."""


class LevelError(PruningError):
    """An invalid or unreachable pruning level."""


class NotFoundError(PruningError):
    """An unknown criterion, control, granularity, ranking or schedule."""


class SettingsError(PruningError):
    """A setting of fine-tuning or evaluation that is out of range."""


class TraceError(PruningError):
    """A network with an unsupported part."""


class PosteriorError(PruningError):
    """A posterior that cannot be pruned."""


class CalibrationError(PruningError):
    """A calibration set that is too small."""


class PublicationError(PruningError):
    """A version that is not published unless asked for by name."""


class MixtureError(PruningError):
    """Runs that cannot be members of one mixture."""


class StudyError(PruningError):
    """A study that is damaged, of another run, or without the requested trial."""
