"""Everything that can go wrong in pruning.

PruningError
├── LevelError         a level's name that means nothing
├── UnknownNameError   no such criterion or granularity
├── TraceError         a network with a part that pruning cannot follow
└── PosteriorError     a posterior that cannot be pruned
"""


class PruningError(Exception):
    """Root of pruning's errors."""


class LevelError(PruningError):
    """A level's name that means nothing."""


class UnknownNameError(PruningError):
    """No such criterion or granularity."""


class TraceError(PruningError):
    """A network with a part that pruning cannot follow."""


class PosteriorError(PruningError):
    """A posterior that cannot be pruned."""
