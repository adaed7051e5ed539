"""The plain network at the most probable weights under the prior: the baseline of all estimators.

    w ← argmin mean of −log p(y|x,w) + β |w|² / (2 N σ_p²)

by gradient descent with Nesterov momentum (Sutskever et al. 2013). The resulting posterior has scale zero: every draw
is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.bayesianize import check_matches, plain_parts, plain_posterior
from training.bayesian.posterior import Posterior
from training.errors import RecipeError
from training.recipe import ALL_LAYERS, Recipe

MOMENTUM = 0.9


class Point(Approximation):
    """Point estimate: a plain network under gradient descent with weight decay."""

    @classmethod
    def create(cls, plain: nn.Module, recipe: Recipe, train_size: int) -> Point:
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
        return cls(plain, torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True))

    def fix(self, names: Collection[str]) -> None:
        """Change nothing: all weights are deterministic."""

    def posterior(self) -> Posterior:
        weights, _ = plain_parts(self.module)
        return plain_posterior(self.module, {name: torch.zeros_like(weight) for name, weight in weights.items()})

    @torch.no_grad()
    def restore(self, posterior: Posterior) -> None:
        weights, rest = plain_parts(self.module)
        check_matches(posterior, weights, rest)
        self.module.load_state_dict(posterior.mean(), strict=False)
        for weight in weights.values():
            weight.register_hook(_masking((weight != 0).to(weight.dtype)))


def _masking(kept: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * kept
