"""Estimators: how one training step draws. One file each: the source, the formula, the draw.

reparam    one weight for the batch, in Bayesian layers
flipout    the same under random signs per example, in Bayesian layers
lrt        outputs from their own mean and variance, in Bayesian layers
ivon       one weight for the batch, by a natural-gradient optimiser on the plain network
none       no draw: the plain network
registry   all of them by name

Every estimator by name, and a network set on its way under one.
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

# Estimators that differ in how a Bayesian layer draws its output, and only in that.
DRAWS: dict[str, Draw] = {"reparam": reparam.draw, "flipout": flipout.draw, "lrt": lrt.draw}
ESTIMATORS = (*DRAWS, "ivon", "none")


def create_approximation(
    plain: nn.Module, recipe: Recipe, train_size: int, average: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> Approximation:
    """The plain network under the recipe's estimator, at the start of training on `train_size` images.

    `average` gives the mean of a tensor over ranks. Raises RecipeError for an unknown estimator, listing what there
    is, and ConversionError for a network that cannot be made Bayesian.
    """
    if recipe.estimator in DRAWS:
        return Variational.create(DRAWS[recipe.estimator], plain, recipe)
    if recipe.estimator == "ivon":
        return NaturalGradient.create(plain, recipe, train_size, average)
    if recipe.estimator == "none":
        return Point.create(plain, recipe, train_size)
    raise RecipeError(f"unknown estimator {recipe.estimator!r}: there is {', '.join(ESTIMATORS)}")
