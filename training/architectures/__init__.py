"""Plain networks, by name. One file each, built alike: the source, the blocks, `build(channels, classes)`.

They take normalised float32 images [N, C, H, W] and give logits [N, K]. They know nothing of posteriors.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from training.architectures import convnet, resnet18, resnet20, vgg16
from training.errors import RecipeError
from training.randomness import reseed

ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "convnet": convnet.build,
    "resnet20": resnet20.build,
    "resnet18": resnet18.build,
    "vgg16": vgg16.build,
}


def architecture(name: str, channels: int, classes: int, seed: int = 0) -> nn.Module:
    """The architecture called `name`, initialised from `seed`; raise RecipeError, listing what there is."""
    if name not in ARCHITECTURES:
        raise RecipeError(f"unknown architecture {name!r}: there is {', '.join(ARCHITECTURES)}")
    reseed(seed, "initialisation")
    return ARCHITECTURES[name](channels, classes)
