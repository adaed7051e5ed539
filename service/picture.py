"""Bytes of a picture to the pixels that a model takes, read as people see it.

The size is checked before anything is decoded. Orientation is applied, alpha goes over white, the first frame counts.
A picture of another size is cut to the model's shape around its centre and resized: the manifest's one rule.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MEDIA_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)
# Our own limit is checked before decoding; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


def decode(data: bytes, shape: InputShape, max_pixels: int, number: int = 0) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [H, W, C] of one picture; `number` is its place in the request, for messages.

    Raises MediaTypeError, TooLargeError or UndecodableError.
    """
    if not data:
        raise UndecodableError(f"image {number} is empty: expected the bytes of a picture")
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise MediaTypeError(f"image {number} is not a picture of a type read here: {', '.join(FORMATS)}") from error
    except DECODING_ERRORS as error:
        raise UndecodableError(f"image {number} cannot be decoded: its header is damaged") from error
    if picture.width * picture.height > max_pixels:
        raise TooLargeError(
            f"image {number} has {picture.width} x {picture.height} pixels: at most {max_pixels:,} pixels are allowed"
        )
    try:
        seen = _as_seen(picture, "L" if shape.channels == 1 else "RGB")
    except DECODING_ERRORS as error:
        raise UndecodableError(f"image {number} cannot be decoded: it is damaged or cut short") from error
    if seen.size != (shape.width, shape.height):
        seen = _center_crop(seen, shape).resize((shape.width, shape.height), Image.Resampling.BICUBIC)
    return np.asarray(seen, np.uint8).reshape(shape.height, shape.width, shape.channels)


def _center_crop(picture: Image.Image, shape: InputShape) -> Image.Image:
    """The largest part around the centre that has the shape's proportions."""
    scale = min(picture.width / shape.width, picture.height / shape.height)
    width, height = max(1, round(shape.width * scale)), max(1, round(shape.height * scale))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _as_seen(picture: Image.Image, mode: str) -> Image.Image:
    """Decode, and convert to `mode`."""
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):  # 16 bits a pixel
        return Image.fromarray((np.asarray(upright, np.uint32) >> 8).astype(np.uint8)).convert(mode)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(white, layer)
    return upright.convert(mode)
