"""Fit batches and epochs of a recipe to the number of training images, and say how long a run is in steps.

A network learns by steps, and an epoch of few images has few: 45 epochs of 160 images in batches of 64 are 135 steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from training.distributed.sampler import BatchSampler
from training.recipe import Recipe

# Least number of steps where neither epochs nor steps are given.
MIN_STEPS = 1_000
# A batch is a quarter of the training images at most, but as many as batch statistics need.
BATCHES_PER_EPOCH, MIN_BATCH = 4, 8


def steps_per_epoch(recipe: Recipe, train_size: int, world_size: int) -> int:
    """Return the number of steps in which so many ranks see each image once."""
    return BatchSampler(train_size, recipe.batch_size, world_size, recipe.seed).steps_per_epoch


def fit_to_size(
    recipe: Recipe, train_size: int, world_size: int, *, steps: int | None = None, given: Collection[str] = ()
) -> Recipe:
    """Return the recipe for so many training images; the settings named in `given` stay.

    The run takes as many epochs as `steps` need, or, without it, no fewer than `MIN_STEPS` need.
    """
    if "batch_size" not in given:
        largest = max(MIN_BATCH, recipe.accumulation, train_size // (BATCHES_PER_EPOCH * world_size))
        recipe = replace(recipe, batch_size=min(recipe.batch_size, largest))
    if steps is None and "epochs" in given:
        return recipe
    per_epoch = steps_per_epoch(recipe, train_size, world_size)
    epochs = -(-(MIN_STEPS if steps is None else steps) // per_epoch)
    return replace(recipe, epochs=max(epochs, 1 if steps is not None else recipe.epochs))


def describe_schedule(recipe: Recipe, train_size: int, world_size: int) -> str:
    """Say how many images a step has, and how many steps the run."""
    per_epoch = steps_per_epoch(recipe, train_size, world_size)
    images = min(recipe.batch_size * world_size, train_size)
    return (
        f"training: {recipe.epochs * per_epoch:,} steps of {images:,} images, "
        f"{recipe.epochs:,} epochs of {per_epoch:,} steps"
    )
