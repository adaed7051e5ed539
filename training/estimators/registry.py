"""Every estimator by name, and a network set on its way under one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from training.approximation import Approximation
from training.errors import RecipeError
from training.estimators import flipout, lrt, reparam
from training.estimators.ivon import NaturalGradient
from training.estimators.none import Point
from training.layers import Draw
from training.recipe import Recipe
from training.variational import Variational

# Estimators that differ in how a Bayesian layer draws its output, and only in that.
DRAWS: dict[str, Draw] = {"reparam": reparam.draw, "flipout": flipout.draw, "lrt": lrt.draw}
ESTIMATORS = (*DRAWS, "ivon", "none")


def begin(
    plain: nn.Module, recipe: Recipe, train_size: int, average: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> Approximation:
    """The plain network under the recipe's estimator, at the start of training on `train_size` images.

    `average` gives the mean of a tensor over ranks. Raises RecipeError for an unknown estimator, listing what there
    is, and ConversionError for a network that cannot be made Bayesian.
    """
    if recipe.estimator in DRAWS:
        return Variational.begin(DRAWS[recipe.estimator], plain, recipe)
    if recipe.estimator == "ivon":
        return NaturalGradient.begin(plain, recipe, train_size, average)
    if recipe.estimator == "none":
        return Point.begin(plain, recipe, train_size)
    raise RecipeError(f"unknown estimator {recipe.estimator!r}: there is {', '.join(ESTIMATORS)}")
