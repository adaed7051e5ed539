"""Fine-tune a pruned posterior with the estimator that trained it."""

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
    """Settings of fine-tuning: `epochs` per level at `rate` times the run's learning rate; 0 epochs skip it.

    With the `gradual` schedule, a level starts from the previous one and is pruned at the start of each of the first
    half of the epochs; `one-shot` prunes the dense posterior at once. `distillation` is the weight of the dense
    posterior's predictions in the targets, from 0 to 1.
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
        """Return whether a level starts from the previous one."""
        return self.schedule == "gradual"

    @property
    def rounds(self) -> int:
        """Return the number of pruning steps per level."""
        return max(1, (self.epochs + 1) // 2) if self.gradual else 1


@dataclass(frozen=True)
class FineTuner:
    """Fine-tune posteriors of one run on its data, with its recipe."""

    dataset: Dataset
    recipe: Recipe
    tuning: FineTuning
    teacher: Teacher | None = None

    def tune(self, plain: nn.Module, posterior: Posterior, start: int, end: int, *, name: str) -> Posterior:
        """Train the posterior of `plain` from epoch `start` to epoch `end` of a level; pruned weights stay zero."""
        if start == end:
            return posterior
        recipe = replace(
            self.recipe,
            epochs=self.tuning.epochs,
            learning_rate=self.recipe.learning_rate * self.tuning.rate,
            warmup_epochs=0.0,
            memory_images=self.recipe.hessian_memory(len(self.dataset.train)),
            init_from=None,
        )
        alone = World(0, 1, torch.device("cpu"))
        tuned = approximation(recipe, self.dataset, alone, plain.train())
        tuned.restore(posterior)
        state = TrainState(tuned, images=start * len(self.dataset.train))
        fit(state, self.dataset, recipe, alone, name=name, teacher=self.teacher, until=end)
        return tuned.posterior()
