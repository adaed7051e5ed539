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
