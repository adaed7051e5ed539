"""Decode image files to the pixels of networks, equal to those of the service's preprocessing.

Crop the largest centred square, resize it bicubically, apply the EXIF orientation and composite on white. The number of
pixels is checked before decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from training.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = 16_777_216
ORIENTATION_TAG = 0x0112
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's global limit on pixels; `decode_image` checks its own before decoding."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode_image(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """Decode a file to uint8 [side, side, C]: C is 1 for grey images, 3 for colour images.

    Raises DataError, naming the file, if it cannot be read, is damaged or has too many pixels.
    """
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            return _read(path, picture, side)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image of a supported type: {', '.join(FORMATS)}") from error
    except Exception as error:  # damaged bytes raise almost anything
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        raise DataError(f"{path} cannot be decoded: it is damaged or cut short") from error


def _read(path: Path, picture: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    picture.draft(None, (2 * side, 2 * side))  # only JPEG can decode at a fraction of its size
    if picture.width * picture.height > MAX_PIXELS:
        found = f"{picture.width} x {picture.height} pixels"
        raise DataError(f"{path} has {found}: at most {MAX_PIXELS:,} pixels are allowed")
    picture.load()
    square = _crop_and_resize(_to_eight_bits(picture), side)
    upright = _apply_orientation(square, _orientation(picture))
    decoded = _composite_on_white(upright).convert("L" if _is_grey(picture) else "RGB")
    return np.asarray(decoded, np.uint8).reshape(side, side, -1)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if missing or damaged."""
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises almost anything
        return 1


def _is_grey(picture: Image.Image) -> bool:
    """Return whether the file's mode is grey; a palette counts as colour."""
    return picture.mode in ("1", "L", "LA") or picture.mode.startswith("I")


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Keep the upper eight bits of 16-bit images."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture


def _crop_and_resize(picture: Image.Image, side: int) -> Image.Image:
    """Crop the largest centred square and resize it to `side`."""
    if picture.size == (side, side):
        return picture
    shorter = min(picture.size)
    left, top = (picture.width - shorter) // 2, (picture.height - shorter) // 2
    part = picture.crop((left, top, left + shorter, top + shorter))
    if part.mode in ("1", "P", "PA"):  # these cannot be interpolated
        part = part.convert("RGBA" if part.has_transparency_data else "RGB")
    return part.resize((side, side), Image.Resampling.BICUBIC)


def _apply_orientation(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else picture


def _composite_on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
