"""Write a picture that is in memory as PNG, from which the decoder gives its pixels; one from a file stays upright."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from model_store.images.errors import ImageDamagedError, ImageTypeError

# Fast: what is written is read once.
COMPRESS_LEVEL = 1
# What PNG holds; other modes, such as CMYK and floats, have none of its kinds of pixels.
MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
ORIENTATION = 0x0112


def write_png(picture: object) -> bytes:
    """Write a Pillow image, or an array uint8 [H, W] or [H, W, C] with 1, 3 or 4 channels, as PNG.

    Raises ImageTypeError for anything else, and ImageDamagedError for an image without pixels, or of a damaged file.
    """
    image = picture if isinstance(picture, Image.Image) else _from_array(picture)
    if 0 in image.size:
        raise ImageDamagedError(f"has {image.width} x {image.height} pixels: expected at least one")
    buffer = BytesIO()
    try:
        image.load()  # after which Pillow has turned a TIFF upright
        written = image if image.mode in MODES else image.convert("RGB")
        written.save(buffer, "PNG", compress_level=COMPRESS_LEVEL, exif=_orientation(image))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageDamagedError(f"cannot be read: {error}") from error
    return buffer.getvalue()


def _orientation(image: Image.Image) -> Image.Exif:
    """Return what EXIF says of how an image is turned, and nothing else that it says."""
    exif, kept = image.getexif(), Image.Exif()
    if ORIENTATION in exif:
        kept[ORIENTATION] = exif[ORIENTATION]
    return kept


def _from_array(picture: Any) -> Image.Image:
    if not hasattr(picture, "__array__"):
        raise ImageTypeError(f"is a {type(picture).__name__}: expected a path, bytes, an array or a Pillow image")
    array = np.asarray(picture)
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] in (3, 4))):
        shape = ", ".join(map(str, array.shape))
        raise ImageTypeError(
            f"is an array {array.dtype} [{shape}]: expected uint8 [H, W] or [H, W, C] with 1, 3 or 4 channels"
        )
    return Image.fromarray(np.ascontiguousarray(array.reshape(array.shape[:2]) if grey else array))
