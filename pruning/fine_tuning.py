"""Fine-tune pruned posteriors with the estimator that trained them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import NotFoundError, SettingsError
from training.bayesian.approximation import Approximation
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.defaults import PLAIN_START
from training.distributed.world import World
from training.recipe import ALL_LAYERS, Recipe
from training.trainer.distillation import Teacher
from training.trainer.loop import TrainState, fit
from training.trainer.schedule import steps_per_epoch
from training.trainer.train import approximation

SCHEDULES = ("gradual", "one-shot")
MAX_ROUNDS = 4
# A network that is pruned has its weights, and all layers are trained.
WHOLE: dict[str, Any] = {"init_from": None, "pretrained": False, "trained": ALL_LAYERS, "plain_share": 0.0}
WHOLE |= {"small_share": 0.0, "averaged_epochs": 0}
# Epochs per level where none are given, and the least number of steps, of which few images have few an epoch.
EPOCHS, MIN_STEPS = 8, 160


@dataclass(frozen=True)
class FineTuning:
    """Settings of fine-tuning: `epochs` per level at `rate` times the run's learning rate; 0 epochs skip it.

    With the `gradual` schedule, a level starts from the previous one and is pruned in up to four rounds, one an epoch,
    at the peak of the learning rate, which then falls along one cosine; `one-shot` prunes the dense posterior at once.
    `distillation` is the weight of the dense posterior's predictions in the targets, from 0 to 1.
    """

    epochs: int = EPOCHS
    schedule: str = "gradual"
    rate: float = 1.0
    distillation: float = 0.0

    @staticmethod
    def epochs_for(recipe: Recipe, dataset: Dataset) -> int:
        """Return the default number of epochs per level for a run."""
        return max(EPOCHS, -(-MIN_STEPS // steps_per_epoch(recipe, len(dataset.train), 1)))

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise NotFoundError(f"unknown schedule {self.schedule!r}: there is {', '.join(SCHEDULES)}")
        if self.epochs < 0:
            raise SettingsError(f"epochs of fine-tuning must be at least 0, got {self.epochs}")
        if not 0 <= self.rate < math.inf:
            raise SettingsError(f"the rate of fine-tuning must be at least 0, got {self.rate}")
        if not 0 <= self.distillation <= 1:
            raise SettingsError(f"the weight of distillation must be from 0 to 1, got {self.distillation}")

    @property
    def gradual(self) -> bool:
        """Return whether a level starts from the previous one."""
        return self.schedule == "gradual"

    @property
    def rounds(self) -> int:
        """Return the number of rounds of removal per level: at least half of the epochs follow the last one."""
        return max(1, min(MAX_ROUNDS, (self.epochs + 1) // 2)) if self.gradual else 1


@dataclass(frozen=True)
class FineTuner:
    """Fine-tune posteriors of one run on its data, with its recipe.

    Where the run's posterior started from a plain network, the means of a level are tuned as those of a plain network
    first, for as large a share of the epochs, and then all of the posterior.
    """

    dataset: Dataset
    recipe: Recipe
    tuning: FineTuning
    teacher: Teacher | None = None

    def begin(self, plain: nn.Module, posterior: Posterior, name: str) -> LevelTuning:
        """Begin with a level, shown as `name` in progress."""
        recipe = replace(
            self.recipe,
            epochs=self.tuning.epochs,
            learning_rate=self.recipe.learning_rate * self.tuning.rate,
            plain_learning_rate=self.recipe.plain_learning_rate * self.tuning.rate,
            warmup_epochs=0.0,
            memory_images=self.recipe.hessian_memory(len(self.dataset.train)),
            **WHOLE,
        )
        return LevelTuning(
            self.dataset, self._phases(recipe), self.teacher, self.tuning.rounds - 1, plain, posterior, name
        )

    def from_scratch(self, plain: nn.Module, posterior: Posterior, epochs: int, name: str) -> Posterior:
        """Train the fresh network `posterior` of a level's shape for `epochs`, by the recipe of a new run."""
        warmup_epochs = min(self.recipe.warmup_epochs, epochs / 2)
        recipe = replace(self.recipe, epochs=epochs, warmup_epochs=warmup_epochs, **WHOLE)
        return LevelTuning(self.dataset, self._phases(recipe), self.teacher, 0, plain, posterior, name).train(epochs)

    def _phases(self, recipe: Recipe) -> list[Recipe]:
        """Divide a recipe into that of the plain network, if there is to be one, and that of the posterior."""
        started = self.recipe.init_from is not None or self.recipe.pretrained
        share = PLAIN_START["plain_share"] if started and recipe.estimator != "none" else self.recipe.plain_share
        whole = replace(recipe, plain_share=share)
        last = replace(whole, epochs=whole.posterior_epochs, plain_share=0.0)
        return [whole.plain_phase(), last] if whole.plain_epochs else [last]


class LevelTuning:
    """Fine-tuning of one level: its optimiser's state goes on while weights and channels are removed.

    In the first phase the learning rate keeps its peak for `hold_epochs`, and then falls along a cosine.
    """

    def __init__(
        self,
        dataset: Dataset,
        phases: Sequence[Recipe],
        teacher: Teacher | None,
        hold_epochs: int,
        plain: nn.Module,
        posterior: Posterior,
        name: str,
    ) -> None:
        self.dataset, self.phases, self.teacher = dataset, deque(phases), teacher
        self.hold_epochs, self.name, self.epochs_before = hold_epochs, name, 0
        self.alone = World(0, 1, torch.device("cpu"))
        self.state = TrainState(self._approximation(plain, posterior))

    def _approximation(self, plain: nn.Module, posterior: Posterior) -> Approximation:
        """Set up the phase's estimator on a posterior in the shape of `plain`, which stays as it is."""
        self.plain, self.scales = plain, {name: weight.scale for name, weight in posterior.weights.items()}
        found = approximation(self.phases[0], self.dataset, self.alone, deepcopy(plain).train())
        found.restore(posterior)
        return found

    def remove(self, plain: nn.Module, posterior: Posterior, cut: Callable[[str, Tensor], Tensor]) -> None:
        """Continue on `posterior`, what a removal left, in the shape of `plain`; `cut` cuts the optimiser's state."""
        earlier = self.state.approximation
        self.state.approximation = self._approximation(plain, posterior)
        self.state.approximation.carry_over(earlier, cut)

    def train(self, until: int) -> Posterior:
        """Train up to epoch `until` of the level, and return the posterior; pruned weights stay zero."""
        self._fit(until)
        while len(self.phases) > 1 and until > (end := self.epochs_before + self.phases[0].epochs):
            posterior = self._posterior()
            self.phases.popleft()
            self.epochs_before, self.hold_epochs = end, 0
            self.state = TrainState(self._approximation(self.plain, posterior))
            self._fit(until)
        return self._posterior()

    def _fit(self, until: int) -> None:
        recipe = self.phases[0]
        fit(
            self.state,
            self.dataset,
            recipe,
            self.alone,
            name=self.name,
            teacher=self.teacher,
            hold_epochs=self.hold_epochs,
            until=min(until - self.epochs_before, recipe.epochs),
        )

    def _posterior(self) -> Posterior:
        """Return the posterior; that of a plain phase has the scales with which it began."""
        posterior = self.state.approximation.posterior()
        if len(self.phases) == 1:
            return posterior
        weights = {name: replace(each, scale=self.scales[name]) for name, each in posterior.weights.items()}
        return replace(posterior, weights=weights)
