"""Default recipes by data set, estimator and device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from training.precision import fastest_precision
from training.recipe import Recipe

CIFAR10 = Recipe(
    data="cifar10",
    architecture="resnet20",
    estimator="ivon",
    epochs=45,
    batch_size=128,
    learning_rate=0.003,
    rise=0.1,
    initial_scale=0.01,
    augmentation="crop-flip",
)
PHOTOGRAPHS = {"cifar10": CIFAR10, "folder": replace(CIFAR10, data="folder", batch_size=64)}
DATASET_RECIPES = {"digits": Recipe(), **PHOTOGRAPHS}
# Settings of an estimator that differ from its data set's recipe. With a prior scale of 0.021, a beta of 0.01 decays
# weights as a beta of 1 does with 0.21.
IVON_CHANGES = {"learning_rate": 1.0, "prior_scale": 0.021, "initial_scale": 0.0104, "beta": 0.01, "warmup_epochs": 0.0}
# On photographs `ivon` starts from a plain network: from fresh weights it is slower, and diverges easily.
PLAIN_START = {"plain_share": 0.8, "epochs": 50, "learning_rate": 0.1}
TRAINED_START = {"epochs": 10, "learning_rate": 0.1}
NONE_CHANGES = {"learning_rate": 0.2, "prior_scale": 0.21, "beta": 1.0, "warmup_epochs": 0.0}
# Side of the images on which weights are published that there are, in pixels.
PUBLISHED_SIDE = 224
# Last layers of a network with published weights, on few images: with so few weights the posterior needs no tempering.
PRETRAINED_CHANGES: dict[str, Any] = {
    "image_size": PUBLISHED_SIDE,
    "trained": "last:2",
    "epochs": 30,
    "batch_size": 32,
    "prior_scale": 0.5,
    "beta": 1.0,
    "warmup_epochs": 0.0,
    "plain_learning_rate": 0.02,
}
# Those of estimators with scales, and of those that descend without Adam.
PRETRAINED_RANDOM = {"random": "last:1"}
PRETRAINED_ESTIMATORS: dict[str, dict[str, Any]] = {
    "ivon": {**PRETRAINED_RANDOM, "learning_rate": 0.05, "initial_scale": 0.25, "hessian_left": 0.001},
    "none": {"learning_rate": 0.05},
}
ESTIMATOR_CHANGES: dict[str, dict[str, Any]] = {"ivon": IVON_CHANGES, "none": NONE_CHANGES}


def default_recipe(data: str, device: torch.device, **changes: Any) -> Recipe:
    """Return the default recipe of a data set, estimator and device, with every change that is not None."""
    base = DATASET_RECIPES.get(data, Recipe(data=data))
    given = {key: value for key, value in changes.items() if value is not None}
    estimator = given.get("estimator", base.estimator)
    own = ESTIMATOR_CHANGES.get(estimator, {})
    if given.get("pretrained"):
        own = own | PRETRAINED_CHANGES | PRETRAINED_ESTIMATORS.get(estimator, PRETRAINED_RANDOM)
    elif estimator == "ivon" and data in PHOTOGRAPHS:
        if "init_from" in given:
            own = own | TRAINED_START
        elif given.get("plain_share") != 0:
            own = own | PLAIN_START
    if data != "digits":  # whose images are too small for precision to matter
        own = own | {"precision": fastest_precision(device)}
    return replace(base, **own | given)
