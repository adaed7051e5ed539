"""Recipes that suit a data set: they may be changed, and every estimator takes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.bayesian.estimators import ESTIMATORS, create_approximation
from training.defaults import DATASET_RECIPES, default_recipe
from training.errors import RecipeError

CPU = torch.device("cpu")


@pytest.mark.parametrize("data", DATASET_RECIPES)
def test_what_suits_a_data_set_may_be_changed(data: str) -> None:
    assert default_recipe(data, CPU, epochs=None, beta=None) == default_recipe(data, CPU)
    changed = default_recipe(data, CPU, epochs=3, beta=0.0, limit=None)
    assert (changed.data, changed.epochs, changed.beta) == (data, 3, 0.0)
    assert changed.architecture == DATASET_RECIPES[data].architecture


@pytest.mark.parametrize("data", DATASET_RECIPES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_has_a_recipe_that_it_takes(data: str, estimator: str) -> None:
    recipe = default_recipe(data, CPU, estimator=estimator)
    assert recipe.estimator == estimator
    create_approximation(nn.Sequential(nn.Linear(2, 2)), recipe, 1_000)


def test_a_change_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(RecipeError, match="epochs must be at least 1, got 0"):
        default_recipe("digits", CPU, epochs=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_published_weights_have_defaults_for_every_estimator(estimator: str) -> None:
    """The last layers are trained, on images of the weights' size, at a rate that suits the optimiser."""
    recipe = default_recipe("folder", CPU, estimator=estimator, architecture="efficientnet_lite0", pretrained=True)
    assert (recipe.trained, recipe.image_size, recipe.epochs, recipe.batch_size) == ("last:2", 224, 30, 32)
    assert recipe.random == ("all" if estimator == "none" else "last:1")
    adam = default_recipe("folder", CPU, estimator=estimator).learning_rate
    assert recipe.learning_rate == (0.05 if estimator in ("ivon", "none") else adam)
