"""The error tree of training.

TrainingError
├── DataError            a data set is missing, damaged or unfit
├── RecipeError          settings are invalid, alone or together
├── ConversionError      a network cannot be made Bayesian
├── CheckpointError      a checkpoint is damaged or of another run
├── RunError             a run folder is missing, unfinished or in use
└── DivergedError        the loss or the network is not finite
"""


class TrainingError(Exception):
    """Base class of training's errors."""


class DataError(TrainingError):
    """Raised if a data set is missing, damaged or unfit."""


class RecipeError(TrainingError):
    """Raised if settings are invalid, alone or together."""


class ConversionError(TrainingError):
    """Raised if a network cannot be made Bayesian."""


class CheckpointError(TrainingError):
    """Raised if a checkpoint is damaged or of another run."""


class RunError(TrainingError):
    """Raised if a run folder is missing, unfinished or in use."""


class DivergedError(TrainingError):
    """Raised if the loss or the network is not finite."""
