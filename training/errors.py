"""Everything that can go wrong in training.

TrainingError
├── DataError            a data set that is missing, damaged or unfit
├── RecipeError          settings that make no sense, alone or together
├── ConversionError      a network that cannot be made Bayesian
├── CheckpointError      a checkpoint that is damaged or of another run
├── RunError             a run folder that is missing, unfinished or in use
└── DivergedError        the loss is not a number any more
"""


class TrainingError(Exception):
    """Root of training's errors."""


class DataError(TrainingError):
    """A data set that is missing, damaged or unfit."""


class RecipeError(TrainingError):
    """Settings that make no sense, alone or together."""


class ConversionError(TrainingError):
    """A network that cannot be made Bayesian."""


class CheckpointError(TrainingError):
    """A checkpoint that is damaged or of another run."""


class RunError(TrainingError):
    """A run folder that is missing, unfinished or in use."""


class DivergedError(TrainingError):
    """The loss is not a number any more."""
