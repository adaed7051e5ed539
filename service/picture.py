"""Bytes of a picture to the pixels that a model takes, read as people see it.

The number of pixels is checked before anything is decoded. A picture of another size is cut to the model's shape around
its centre and resized: the manifest's one rule. Only then, when it is small, is it turned upright and put over white.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MEDIA_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)
# Our own limit is checked before decoding; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None
# A client's damaged metadata are nothing that an operator should read about.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
ORIENTATION_TAG = 0x0112
SIDEWAYS = (5, 6, 7, 8)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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
        side = 2 * max(shape.height, shape.width)
        picture.draft(None, (side, side))  # JPEG alone can decode at a fraction of its size
    except UnidentifiedImageError as error:
        raise MediaTypeError(f"image {number} is not a picture of a type read here: {', '.join(FORMATS)}") from error
    except DECODING_ERRORS as error:
        raise UndecodableError(f"image {number} cannot be decoded: its header is damaged") from error
    # Before anything else: even the search for an orientation may decode a PNG.
    if picture.width * picture.height > max_pixels:
        raise TooLargeError(
            f"image {number} has {picture.width} x {picture.height} pixels: at most {max_pixels:,} pixels are allowed"
        )
    try:
        sideways = _orientation(picture) in SIDEWAYS
        target = (shape.height, shape.width) if sideways else (shape.width, shape.height)
        picture.load()
        seen = _as_seen(_resized(picture, target), _orientation(picture), "L" if shape.channels == 1 else "RGB")
    except DECODING_ERRORS as error:
        raise UndecodableError(f"image {number} cannot be decoded: it is damaged or cut short") from error
    return np.asarray(seen, np.uint8).reshape(shape.height, shape.width, shape.channels)


def decode_all(pictures: Sequence[bytes], shape: InputShape, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [N, H, W, C] of N pictures; raise as `decode` does."""
    return np.stack([decode(data, shape, max_pixels, number) for number, data in enumerate(pictures)])


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8; upright where there is none or it is damaged."""
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises almost anything
        return 1


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest part around the centre that has the proportions of `size`, at that size."""
    if picture.mode.startswith("I"):  # 16 bits a pixel
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.size == size:
        return picture
    scale = min(picture.width / size[0], picture.height / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    part = picture.crop((left, top, left + width, top + height))
    if part.mode in ("1", "P", "PA"):  # these cannot be interpolated
        part = part.convert("RGBA" if part.has_transparency_data else "RGB")
    return part.resize(size, Image.Resampling.BICUBIC)


def _as_seen(picture: Image.Image, orientation: int, mode: str) -> Image.Image:
    """Upright, over white, in `mode`."""
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert(mode)
