"""Estimators by name. Each file has the source, the formula and the draw of one.

reparam    one weight for the batch, in Bayesian layers
flipout    one weight for the batch under random signs per example, in Bayesian layers
lrt        outputs from their own mean and variance, in Bayesian layers
ivon       one weight for the batch, by a natural-gradient optimiser on the plain network
none       no draw: the plain network
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.estimators import flipout, lrt, reparam
from training.bayesian.estimators.ivon import NaturalGradient
from training.bayesian.estimators.none import Point
from training.bayesian.layers import Draw
from training.bayesian.variational import Variational
from training.errors import RecipeError
from training.recipe import Recipe

# Estimators that differ only in how a Bayesian layer draws its output.
DRAWS: dict[str, Draw] = {"reparam": reparam.draw, "flipout": flipout.draw, "lrt": lrt.draw}
ESTIMATORS = (*DRAWS, "ivon", "none")


def create_approximation(
    plain: nn.Module,
    recipe: Recipe,
    train_size: int,
    images_per_step: float | None = None,
    average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Approximation:
    """Set up the recipe's estimator on a plain network, for training on `train_size` images.

    `images_per_step` is the mean over an epoch, of all ranks, by default the recipe's batch; `average` returns the mean
    of a tensor over ranks.

    Raises:
        RecipeError: the estimator is unknown, or does not support the recipe.
        ConversionError: the network cannot be made Bayesian.
    """
    if recipe.estimator in DRAWS:
        return Variational.create(DRAWS[recipe.estimator], plain, recipe)
    images = float(min(recipe.batch_size, train_size)) if images_per_step is None else images_per_step
    if recipe.estimator == "ivon":
        return NaturalGradient.create(plain, recipe, train_size, images, average)
    if recipe.estimator == "none":
        return Point.create(plain, recipe, train_size, images)
    raise RecipeError(f"unknown estimator {recipe.estimator!r}: there is {', '.join(ESTIMATORS)}")
