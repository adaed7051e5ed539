"""Settings that make no sense are refused with what was wrong and what was expected; the learning rate's shape."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import RecipeError
from training.recipe import Recipe

BAD = [
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ({"epochs": -3}, "epochs must be at least 1, got -3"),
    ({"batch_size": 0}, "batch size must be at least 1, got 0"),
    ({"learning_rate": 0.0}, "learning rate must be above 0, got 0.0"),
    ({"learning_rate": math.inf}, "learning rate must be above 0, got inf"),
    ({"learning_rate": math.nan}, "learning rate must be above 0, got nan"),
    ({"prior_scale": -0.1}, "prior scale must be above 0, got -0.1"),
    ({"initial_scale": 0.0}, "initial scale must be above 0, got 0.0"),
    ({"beta": 1.5}, "beta must be from 0 to 1, got 1.5"),
    ({"beta": -0.1}, "beta must be from 0 to 1, got -0.1"),
    ({"beta": math.nan}, "beta must be from 0 to 1, got nan"),
    ({"warmup_epochs": -1.0}, "warm-up must be at least 0 epochs, got -1.0"),
    ({"seed": -1}, "seed must be a whole number from 0, got -1"),
    ({"seed": 2**63}, "seed must be a whole number from 0"),
    ({"limit": 3}, "limit must be at least 4 images, got 3"),
    ({"accumulation": 0}, "accumulation must be from 1 to the batch size, got 0"),
    ({"accumulation": 5, "batch_size": 4}, "accumulation must be from 1 to the batch size, got 5"),
    ({"draws": 0}, "draws must be at least 1, got 0"),
    ({"scaling": "cubic"}, "scaling must be linear, sqrt, none, got cubic"),
    ({"rise": 1.0}, "rise must be between 0 and 1, got 1.0"),
    ({"random": "last:0"}, "random layers must be all, auto or last:N, got last:0"),
    ({"random": "first:2"}, "random layers must be all, auto or last:N, got first:2"),
    ({"hessian_left": 1.0}, "initial Hessian left must be between 0 and 1, got 1.0"),
    ({"memory_images": 0.0}, "memory must be above 0 images, got 0.0"),
    ({"precision": "float16"}, "precision must be float32 or bfloat16, got float16"),
    ({"image_size": 4}, "image size must be at least 8 pixels, got 4"),
    ({"initial_share": 0.0}, "initial share must be above 0, got 0.0"),
    ({"plain_share": 1.0}, "plain share must be from 0 to below 1, got 1.0"),
    ({"plain_learning_rate": 0.0}, "plain learning rate must be above 0, got 0.0"),
    ({"small_share": -0.1}, "small share must be from 0 to below 1, got -0.1"),
    ({"averaged_epochs": -1, "estimator": "none"}, "averaged epochs must be at least 0, got -1"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_a_bad_value_is_named_with_what_was_expected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe(**settings)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "settings", [{"beta": 0.0}, {"beta": 1.0}, {"warmup_epochs": 0.0}, {"limit": 4}, {"epochs": 1}]
)
def test_values_at_the_edge_are_taken(settings: dict[str, Any]) -> None:
    recipe = Recipe(**settings)
    assert all(getattr(recipe, name) == value for name, value in settings.items())


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(data="cifar10", architecture="resnet20", epochs=7, beta=0.25, seed=9, limit=100)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_unknown_settings_are_named() -> None:
    with pytest.raises(RecipeError, match=r"unknown settings: epoch, momentum"):
        Recipe.from_json({"momentum": 1, "epoch": 3, "beta": 0.5})


def test_settings_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(RecipeError, match="wrong type"):
        Recipe.from_json({"epochs": "many"})


@given(st.floats(1e-6, 1), st.floats(0, 1))
def test_the_learning_rate_stays_between_nothing_and_its_peak(peak: float, progress: float) -> None:
    assert 0 <= Recipe(learning_rate=peak).learning_rate_at(progress) <= peak


def test_the_learning_rate_rises_then_falls_like_a_cosine() -> None:
    recipe = Recipe(learning_rate=0.01)
    assert 0 < recipe.learning_rate_at(0.0) < 0.001
    assert recipe.learning_rate_at(0.025) == pytest.approx(0.005)
    assert recipe.learning_rate_at(0.05) == pytest.approx(0.01)
    assert recipe.learning_rate_at(0.525) == pytest.approx(0.005)
    assert recipe.learning_rate_at(1.0) == pytest.approx(0, abs=1e-12)
    rates = [recipe.learning_rate_at(0.05 + 0.95 * step / 100) for step in range(101)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_the_learning_rate_grows_with_the_ranks(scaling: str, factor: float) -> None:
    """From that of one rank, which a fresh network takes, to its peak."""
    recipe = Recipe(learning_rate=0.01, scaling=scaling, rise=0.2)
    alone = [recipe.learning_rate_at(progress / 100) for progress in range(101)]
    four = [recipe.learning_rate_at(progress / 100, 4) for progress in range(101)]
    assert four[20:100] == pytest.approx([factor * rate for rate in alone[20:100]])
    assert four[0] == pytest.approx(alone[0], rel=0.05)
    assert four[:21] == sorted(four[:21])
    assert max(four) == four[20]
