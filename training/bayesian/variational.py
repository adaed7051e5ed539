"""Stochastic variational inference with Bayesian layers, shared by `reparam`, `flipout` and `lrt`.

Adam optimises means, log scales and deterministic parameters; the KL divergence is a term of the loss.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.bayesianize import bayesian_layers, bayesianize, deterministic_names, read_posterior, restore
from training.bayesian.layers import Draw
from training.bayesian.objective import divergence
from training.bayesian.posterior import Posterior
from training.recipe import Recipe

# Smallest initial scale, for weights near zero.
MIN_SCALE = 1e-4


class Variational(Approximation):
    """A network of Bayesian layers under Adam."""

    @classmethod
    def create(cls, draw: Draw, plain: nn.Module, recipe: Recipe) -> Variational:
        """Start at the plain network's weights; if these are trained, with scales in proportion to them."""
        deterministic = deterministic_names(plain, recipe.random)
        module = bayesianize(plain, draw, prior_scale=recipe.prior_scale, initial_scale=recipe.initial_scale)
        if recipe.init_from is not None:
            for layer in bayesian_layers(module).values():
                layer.log_scale.data = (recipe.initial_share * layer.mean.detach().abs()).clamp_min(MIN_SCALE).log()
        created = cls(module, torch.optim.Adam(module.parameters(), lr=recipe.learning_rate, fused=True))
        created.fix(deterministic)
        return created

    def penalty(self) -> Tensor:
        return divergence(self.module)

    def fix(self, names: Collection[str]) -> None:
        layers = bayesian_layers(self.module)
        for name in names:
            layers[name.removesuffix(".weight")].fix()

    def posterior(self) -> Posterior:
        return read_posterior(self.module)

    def restore(self, posterior: Posterior) -> None:
        restore(self.module, posterior)
