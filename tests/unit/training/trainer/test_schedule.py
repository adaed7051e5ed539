"""Recipes of few images: enough steps in smaller batches, unless something else is asked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.defaults import default_recipe
from training.recipe import Recipe
from training.trainer.schedule import (
    FITTED,
    MAX_DECAY,
    MIN_BATCH,
    MIN_STEPS,
    describe_schedule,
    fit_to_size,
    steps_per_epoch,
)

RECIPE = Recipe(data="folder", epochs=45, batch_size=64)
sizes, ranks = st.integers(8, 50_000), st.integers(1, 4)


@given(sizes, ranks)
def test_a_run_has_enough_steps(size: int, ranks: int) -> None:
    """And neither fewer epochs nor larger batches than the recipe of many images."""
    found = fit_to_size(RECIPE, size, ranks)
    per_epoch = steps_per_epoch(found, size, ranks)
    assert found.epochs * per_epoch >= MIN_STEPS
    assert (found.epochs - 1) * per_epoch < MIN_STEPS or found.epochs == RECIPE.epochs
    assert MIN_BATCH <= found.batch_size <= RECIPE.batch_size
    assert found.batch_size * ranks * 4 <= size or found.batch_size == MIN_BATCH


@given(sizes, ranks, st.integers(1, 5_000))
def test_steps_are_as_many_whole_epochs_as_they_take(size: int, ranks: int, steps: int) -> None:
    found = fit_to_size(RECIPE, size, ranks, steps=steps)
    per_epoch = steps_per_epoch(found, size, ranks)
    assert (found.epochs - 1) * per_epoch < steps <= found.epochs * per_epoch


@given(sizes, ranks)
def test_what_is_given_stays(size: int, ranks: int) -> None:
    assert fit_to_size(RECIPE, size, ranks, given=FITTED) == RECIPE
    assert fit_to_size(RECIPE, size, ranks, given={"epochs"}).epochs == 45
    assert fit_to_size(RECIPE, size, ranks, given={"batch_size"}).batch_size == 64


@given(sizes, st.sampled_from(["ivon", "none", "flipout"]))
def test_no_step_takes_most_of_a_weight_away(size: int, estimator: str) -> None:
    """Gradient descent has a bounded decay, and as much of a step for each image as in a large batch."""
    recipe = default_recipe("folder", torch.device("cpu"), estimator=estimator)
    found = fit_to_size(recipe, size, 1)
    if estimator == "flipout":
        assert (found.learning_rate, found.prior_scale) == (recipe.learning_rate, recipe.prior_scale)
        return
    decay = found.beta / (size * found.prior_scale**2)
    assert decay <= MAX_DECAY * (1 + 1e-9)
    assert found.prior_scale == recipe.prior_scale or decay == pytest.approx(MAX_DECAY)
    assert found.learning_rate / found.batch_size == pytest.approx(recipe.learning_rate / recipe.batch_size)


def test_many_images_keep_their_recipe() -> None:
    recipe = default_recipe("folder", torch.device("cpu"))
    assert fit_to_size(recipe, 50_000, 1) == recipe


def test_a_batch_is_no_smaller_than_its_parts() -> None:
    assert fit_to_size(Recipe(batch_size=64, accumulation=16), 40, 1).batch_size == 16


@pytest.mark.parametrize(
    ("size", "says"), [(28, "training: 180 steps of 28 images, 45 epochs of 4 steps"), (640, "450 steps of 64 images")]
)
def test_a_schedule_is_told(size: int, says: str) -> None:
    told = describe_schedule(RECIPE, size, 1)
    assert says.replace("180", "45").replace("4 steps", "1 steps") in told
