"""Build plain networks by name. Each file has the source, the blocks and `build(channels, classes)`.

Networks map normalised float32 images [N, C, H, W] to logits [N, K].
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from training.architectures import convnet, efficientnet_lite, imagenet_resnet, resnet18, resnet20, vgg16
from training.architectures.pretraining import Pretraining
from training.errors import RecipeError
from training.randomness import reseed

ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "convnet": convnet.build,
    "resnet20": resnet20.build,
    "resnet18": resnet18.build,
    "vgg16": vgg16.build,
    "efficientnet_lite0": efficientnet_lite.build,
    "imagenet_resnet18": imagenet_resnet.build_18,
    "imagenet_resnet50": imagenet_resnet.build_50,
}
# Architectures whose published weights are known.
PRETRAININGS: dict[str, Pretraining] = {
    "efficientnet_lite0": efficientnet_lite.PRETRAINING,
    "imagenet_resnet18": imagenet_resnet.PRETRAINING,
    "imagenet_resnet50": imagenet_resnet.PRETRAINING,
}


def architecture(name: str, channels: int, classes: int, seed: int = 0) -> nn.Module:
    """Build the architecture called `name`, initialised from `seed`; raise RecipeError, listing the known names."""
    if name not in ARCHITECTURES:
        raise RecipeError(f"unknown architecture {name!r}: there is {', '.join(ARCHITECTURES)}")
    reseed(seed, "initialisation")
    return ARCHITECTURES[name](channels, classes)


def pretraining(name: str) -> Pretraining:
    """Return what is known of an architecture's published weights; raise RecipeError if nothing is."""
    if name not in PRETRAININGS:
        raise RecipeError(f"no published weights of {name} are known: there are some of {', '.join(PRETRAININGS)}")
    return PRETRAININGS[name]
