"""Corrupt images in four ways at five strengths, after Hendrycks and Dietterich (2019); an image and a strength give
the same bytes in each run.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

STRENGTHS = (1, 2, 3, 4, 5)
UInt8Array = npt.NDArray[np.uint8]
# By strength: standard deviation of noise, of 255; radius of blur in pixels; factor of contrast; quality of JPEG.
NOISE = (8, 12, 18, 26, 36)
BLUR = (0.4, 0.6, 0.8, 1.0, 1.3)
CONTRAST = (0.75, 0.6, 0.45, 0.3, 0.2)
JPEG = (80, 60, 40, 25, 15)


def _noise(image_HWC: UInt8Array, strength: int, number: int) -> UInt8Array:
    values = np.random.default_rng([number, strength]).normal(0, NOISE[strength - 1], image_HWC.shape)
    noisy: UInt8Array = np.clip(np.rint(image_HWC + values), 0, 255).astype(np.uint8)
    return noisy


def _blur(image_HWC: UInt8Array, strength: int, number: int) -> UInt8Array:
    return np.asarray(Image.fromarray(image_HWC).filter(ImageFilter.GaussianBlur(BLUR[strength - 1])))


def _contrast(image_HWC: UInt8Array, strength: int, number: int) -> UInt8Array:
    mean_C = image_HWC.mean((0, 1))
    flat: UInt8Array = np.rint(mean_C + CONTRAST[strength - 1] * (image_HWC - mean_C)).astype(np.uint8)
    return flat


def _jpeg(image_HWC: UInt8Array, strength: int, number: int) -> UInt8Array:
    written = io.BytesIO()
    Image.fromarray(image_HWC).save(written, "JPEG", quality=JPEG[strength - 1])
    with Image.open(written) as read:
        return np.asarray(read)


CORRUPTIONS: dict[str, Callable[[UInt8Array, int, int], UInt8Array]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
}


def corrupt(images_NHWC: UInt8Array, corruption: str, strength: int) -> UInt8Array:
    """Return corrupted RGB images, uint8 [N, H, W, 3]; noise depends on an image's place among them."""
    apply = CORRUPTIONS[corruption]
    return np.stack([apply(image_HWC, strength, number) for number, image_HWC in enumerate(images_NHWC)])
