"""Training on while pruning, in the estimator that the posterior came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from pruning.errors import NotFoundError
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.distributed.world import World
from training.recipe import Recipe
from training.trainer.distillation import Teacher
from training.trainer.loop import TrainState, fit
from training.trainer.train import approximation

SCHEDULES = ("gradual", "one-shot")


@dataclass(frozen=True)
class FineTuning:
    """`epochs` for each level, at `rate` times the run's own learning rate; none leaves the posterior as it is.

    Under the `gradual` schedule a level starts from the one before it, and what goes does so at the start of each of
    the first half of the epochs; `one-shot` removes it at once from the dense posterior. `distillation` is the share of
    the targets that the dense posterior's predictions make.
    """

    epochs: int = 8
    schedule: str = "gradual"
    rate: float = 1.0
    distillation: float = 0.0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise NotFoundError(f"unknown schedule {self.schedule!r}: there is {', '.join(SCHEDULES)}")

    @property
    def gradual(self) -> bool:
        """Whether a level starts from the one before it."""
        return self.schedule == "gradual"

    @property
    def rounds(self) -> int:
        """How often something is removed for a level."""
        return max(1, (self.epochs + 1) // 2) if self.gradual else 1


@dataclass(frozen=True)
class Tuner:
    """Fine-tuning of one run: its data, its recipe, and how."""

    dataset: Dataset
    recipe: Recipe
    tuning: FineTuning
    teacher: Teacher | None = None

    def tune(self, plain: nn.Module, posterior: Posterior, start: int, end: int, *, name: str) -> Posterior:
        """The posterior of `plain` after the epochs from `start` to `end` of a level's; zeros stay zeros."""
        if start == end:
            return posterior
        recipe = replace(
            self.recipe,
            epochs=self.tuning.epochs,
            learning_rate=self.recipe.learning_rate * self.tuning.rate,
            warmup_epochs=0.0,
            init_from=None,
        )
        alone = World(0, 1, torch.device("cpu"))
        tuned = approximation(recipe, self.dataset, alone, plain.train())
        tuned.restore(posterior)
        state = TrainState(tuned, images=start * len(self.dataset.train))
        fit(state, self.dataset, recipe, alone, name=name, teacher=self.teacher, until=end)
        return tuned.posterior()
