"""Make a decoded picture what a model takes: cropped, resized, upright, over white.

A picture of another size is cropped around its centre to the model's aspect ratio and resized: the manifest's one rule.
Orientation and transparency are applied after that, when the picture is small.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.images.header import Check, Load

# EXIF orientations: those that swap width and height, and what turns each upright.
QUARTER_TURNS = (5, 6, 7, 8)
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Modes with colours that are weighted by their alpha.
WEIGHTED = {"LA": "La", "RGBA": "RGBa"}
# Bytes a pixel of two copies of a picture, of which there are never more: of one byte a pixel, and of any other mode.
# Of sixteen bits, numpy makes some more.
GREY_COPIES_BYTES, COPIES_BYTES, DEEP_COPIES_BYTES = 2, 8, 16
# Copies of the final picture, four bytes a pixel: resized, turned, with alpha, on white, as an array.
FINAL_COPIES = 8


class Shape(Protocol):
    """Size of the pixels that a model takes, and its channels, 1 or 3."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def channels(self) -> int: ...


def resizing_bytes(width: int, height: int, shape: Shape) -> int:
    """Return a bound on the memory of what is made of a picture after it was cropped."""
    longer = max(shape.width, shape.height)
    # Resized in one direction first, then in the other.
    halfway = 4 * longer * max(width, height) if max(width, height) > longer else 4 * longer * longer
    return min(halfway, 4 * max(width * height, longer * longer)) + FINAL_COPIES * 4 * shape.width * shape.height


def to_pixels(load: Load, shape: Shape, check: Check) -> npt.NDArray[np.uint8]:
    """Load a picture, return it as uint8 [H, W, C] of `shape`; raise ValueError for samples with no defined white.

    Each step releases what was before it, so that there are never more than two copies.
    """
    picture, orientation = load(check)
    size = (shape.height, shape.width) if orientation in QUARTER_TURNS else (shape.width, shape.height)
    picture = _cropped(picture, size)
    check()
    picture = _to_8_bits(picture)
    check()
    if picture.size != size:
        # Colours are weighted by alpha, so that what is hidden does not show at edges.
        mode = picture.mode
        if mode in WEIGHTED:
            picture = picture.convert(WEIGHTED[mode])
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        if mode in WEIGHTED:
            picture = picture.convert(mode)
    picture = _upright_over_white(picture, orientation, "L" if shape.channels == 1 else "RGB")
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _cropped(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop the largest centred part with the aspect ratio of `size`."""
    scale = min(picture.width / size[0], picture.height / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture if (width, height) == picture.size else picture.crop((left, top, left + width, top + height))


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Convert to 8 bits a sample, without a palette or a transparent colour, which cannot be interpolated."""
    if picture.mode.startswith("I;16"):
        return _from_16_bits(picture)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit samples have no defined white")
    if "transparency" in picture.info or picture.mode == "PA":
        return picture.convert("RGBA")
    return picture.convert("RGB") if picture.mode in ("1", "P") else picture


def _from_16_bits(picture: Image.Image) -> Image.Image:
    """Keep the upper 8 of 16 bits, and turn a transparent grey into an alpha channel."""
    deep = np.asarray(picture)
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray((deep != picture.info["transparency"]).view(np.uint8) * np.uint8(255)))
    return grey


def _upright_over_white(picture: Image.Image, orientation: int, mode: str) -> Image.Image:
    """Apply the orientation, composite over white, and convert to `mode`."""
    if orientation in TRANSPOSITIONS:
        picture = picture.transpose(TRANSPOSITIONS[orientation])
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture if picture.mode == mode else picture.convert(mode)
