"""Augment batches by name: uint8 [N, H, W, C] to uint8 [N, H, W, C], on any device.

none        no change
crop-flip   shifts of up to four pixels, half of the images mirrored: for natural images without a fixed left and right
cutout      crop-flip, then a cut-out square (DeVries and Taylor 2017, arXiv:1708.04552)
rand        crop-flip, then a random warp, a random change of tones and a cut-out square, each at a random strength.
            After RandAugment (Cubuk et al. 2020, arXiv:1909.13719), with one operation of each kind at a strength
            drawn anew for each image as in TrivialAugment (Müller and Hutter 2021, arXiv:2103.10158)
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

from training.data.transforms import change_tones, cut_out, shift_and_mirror, warp
from training.errors import RecipeError

Augmentation = Callable[[Tensor, Generator], Tensor]


def none(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Return the images unchanged, without drawing random numbers."""
    return x_NHWC


def cutout(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Apply crop-flip, and cut a square out of each image."""
    return cut_out(shift_and_mirror(x_NHWC, generator), generator)


def rand(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Apply crop-flip, a warp, a change of tones and a cut-out square to each image."""
    x_NHWC = shift_and_mirror(x_NHWC, generator)
    return cut_out(change_tones(warp(x_NHWC, generator), generator), generator)


AUGMENTATIONS: dict[str, Augmentation] = {"none": none, "crop-flip": shift_and_mirror, "cutout": cutout, "rand": rand}


def augmentation(name: str) -> Augmentation:
    """Return the augmentation called `name`; raise RecipeError, listing the known ones, for another name."""
    if name not in AUGMENTATIONS:
        raise RecipeError(f"unknown augmentation {name!r}: there is {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
