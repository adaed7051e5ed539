"""The plain network at the most probable weights under the prior: the baseline of all estimators.

    w ← argmin mean of −log p(y|x,w) + β |w|² / (2 N σ_p²)

by gradient descent with Nesterov momentum (Sutskever et al. 2013). The resulting posterior has scale zero: every draw
is the same. With averaged epochs it is the mean of the weights after each step of the last ones (Izmailov et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.bayesianize import check_matches, plain_parts, plain_posterior
from training.bayesian.posterior import Posterior
from training.errors import RecipeError
from training.recipe import ALL_LAYERS, Recipe

MOMENTUM = 0.9
# What the optimiser keeps of a parameter and of a group of them, beside its own state.
AVERAGE, STEPS = "average", "steps"


class Point(Approximation):
    """Point estimate: a plain network under gradient descent with weight decay."""

    @classmethod
    def create(cls, plain: nn.Module, recipe: Recipe, train_size: int, images_per_step: float) -> Point:
        """Start at the plain network's weights; raise RecipeError for a recipe with a warm-up or random layers."""
        if recipe.random != ALL_LAYERS:
            raise RecipeError(f"the plain network has no random layers: leave out --random {recipe.random}")
        if recipe.warmup_epochs > 0:
            raise RecipeError("the plain network has its prior from the start: leave the warm-up at 0 epochs")
        weights = list(plain_parts(plain)[0].values())
        chosen = set(weights)
        groups = [
            {"params": weights, "weight_decay": recipe.beta / (train_size * recipe.prior_scale**2)},
            {
                "params": [each for each in plain.parameters() if each not in chosen and each.requires_grad],
                "weight_decay": 0.0,
            },
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True)
        if recipe.averaged_epochs:
            last = round(recipe.averaged_epochs * train_size / images_per_step)
            every = round(recipe.epochs * train_size / images_per_step)
            optimizer.register_step_post_hook(_averaging(max(0, every - last)))
        return cls(plain, optimizer)

    def fix(self, names: Collection[str]) -> None:
        """Change nothing: all weights are deterministic."""

    def posterior(self) -> Posterior:
        weights, _ = plain_parts(self.module)
        scales = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        with self._averaged():
            return plain_posterior(self.module, scales)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averages in place of the parameters that have one."""
        now = {each: each.data for each in self.module.parameters()}
        for each, data in now.items():
            each.data = self.optimizer.state.get(each, {}).get(AVERAGE, data)
        try:
            yield
        finally:
            for each, data in now.items():
                each.data = data

    @torch.no_grad()
    def restore(self, posterior: Posterior) -> None:
        weights, rest = plain_parts(self.module)
        check_matches(posterior, weights, rest)
        self.module.load_state_dict(posterior.mean(), strict=False)
        for weight in weights.values():
            weight.register_hook(_masking((weight != 0).to(weight.dtype)))


def _averaging(after: int) -> Callable[[torch.optim.Optimizer, Any, Any], None]:
    """Return a hook after each step that averages the parameters of all steps but the first `after`."""

    @torch.no_grad()
    def average(optimizer: torch.optim.Optimizer, _: Any, __: Any) -> None:
        for group in optimizer.param_groups:
            group[STEPS] = group.get(STEPS, 0) + 1
            count = group[STEPS] - after
            for parameter in group["params"] if count > 0 else ():
                state = optimizer.state[parameter]
                state[AVERAGE] = state.get(AVERAGE, parameter).lerp(parameter, 1 / count)

    return average


def _masking(kept: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * kept
