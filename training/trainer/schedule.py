"""Fit a recipe for many images to a few: batches, epochs, learning rate and prior; say how long a run is in steps.

A network learns by steps, and an epoch of few images has few: 45 epochs of 160 images in batches of 64 are 135 steps.
The prior's weight decay, β / (N σ²), grows as images get fewer: with 28 of them and the prior of CIFAR-10's recipe each
step would take most of a weight away.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from training.distributed.sampler import BatchSampler
from training.recipe import Recipe

# Least number of steps where neither epochs nor steps are given; the last layers on features of others take fewer.
MIN_STEPS, MIN_STEPS_ON_FEATURES = 1_000, 200
# A batch is a quarter of the training images at most, but as many as batch statistics need.
BATCHES_PER_EPOCH, MIN_BATCH = 4, 8
# Estimators by gradient descent, whose learning rate goes with the batch, and the largest weight decay of their prior.
DESCENDING, MAX_DECAY = ("ivon", "none"), 0.005
# Settings that are fitted.
FITTED = ("batch_size", "epochs", "learning_rate", "plain_learning_rate", "prior_scale")


def steps_per_epoch(recipe: Recipe, train_size: int, world_size: int) -> int:
    """Return the number of steps in which so many ranks see each image once."""
    return BatchSampler(train_size, recipe.batch_size, world_size, recipe.seed).steps_per_epoch


def fit_to_size(
    recipe: Recipe, train_size: int, world_size: int, *, steps: int | None = None, given: Collection[str] = ()
) -> Recipe:
    """Return the recipe for so many training images; of those settings that are `FITTED`, the `given` stay.

    The run takes as many epochs as `steps` need, or, without it, no fewer than `MIN_STEPS` need.
    """
    descends = recipe.estimator in DESCENDING
    if "batch_size" not in given:
        largest = max(MIN_BATCH, recipe.accumulation, train_size // (BATCHES_PER_EPOCH * world_size))
        size = min(recipe.batch_size, largest)
        share = size / recipe.batch_size  # (Goyal et al. 2017)
        if descends and "learning_rate" not in given:
            recipe = replace(recipe, learning_rate=recipe.learning_rate * share)
        if "plain_learning_rate" not in given:
            recipe = replace(recipe, plain_learning_rate=recipe.plain_learning_rate * share)
        recipe = replace(recipe, batch_size=size)
    if descends and "prior_scale" not in given and recipe.trained_count is None:
        widest = math.sqrt(recipe.beta / (train_size * MAX_DECAY))
        recipe = replace(recipe, prior_scale=max(recipe.prior_scale, widest))
    if steps is None and "epochs" in given:
        return recipe
    per_epoch = steps_per_epoch(recipe, train_size, world_size)
    least = MIN_STEPS if recipe.trained_count is None else MIN_STEPS_ON_FEATURES
    epochs = -(-(least if steps is None else steps) // per_epoch)
    return replace(recipe, epochs=max(epochs, 1 if steps is not None else recipe.epochs))


def describe_schedule(recipe: Recipe, train_size: int, world_size: int) -> str:
    """Say how many images a step has, and how many steps the run."""
    per_epoch = steps_per_epoch(recipe, train_size, world_size)
    images = min(recipe.batch_size * world_size, train_size)
    text = (
        f"training: {recipe.epochs * per_epoch:,} steps of {images:,} images, "
        f"{recipe.epochs:,} epochs of {per_epoch:,} steps"
    )
    plain = recipe.plain_epochs
    return f"{text}, the first {plain:,} of them as a plain network" if plain else text
