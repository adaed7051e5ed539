"""Decode pictures to the pixels that a model takes, upright and over white, within limits on pixels and time.

The number of pixels is checked before anything is decoded. A picture of another size is cropped around its centre to
the model's aspect ratio and resized: the manifest's one rule. Orientation and transparency are applied after that, when
the picture is small.

Time is checked whenever Pillow asks for more bytes, which for PNG, JPEG, GIF and BMP is every 2 KiB. A thread cannot be
stopped between two checks, but the work between them is bounded by the pixels. WebP and TIFF are decoded in one piece,
so their time is bounded by their pixels alone, and only checked afterwards.
"""

from __future__ import annotations

import math
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Sequence
from contextlib import ContextDecorator
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError
from service.pipeline import png
from service.settings import FORMATS, Settings

# Bytes between two checks of the clock: 30 of a progressive JPEG can demand a pass over all pixels.
BLOCK_BYTES = 2048
ORIENTATION_TAG = 0x0112
PNG_DEPTH_OFFSET = 24
# Beginning of every PNG up to its width and height.
PNG_HEAD = struct.Struct(">16sII")
PNG_SIGNATURE = png.SIGNATURE + b"\0\0\0\rIHDR"
# A PNG within both is decoded in about 0.1 ms.
FAST_MAX_BYTES, FAST_MAX_PIXELS = 4096, 4096
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
# JPEG markers.
START_OF_SCAN = 0xDA
SEQUENTIAL = (0xC0, 0xC1)
START_OF_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
WITHOUT_LENGTH = range(0xD0, 0xDA)
# Everything that Pillow's decoders raise for damaged files.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error),
)


class TimeLimitedBytes(BytesIO):
    """File of a picture's bytes whose reads fail after `until`, in seconds of this thread's CPU time."""

    def __init__(self, data: bytes, until: float, number: int) -> None:
        super().__init__(data)
        self.until, self.number = until, number
        self._unchecked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        # Not at each of a PNG's many small reads.
        self._unchecked += len(block)
        if self._unchecked >= BLOCK_BYTES:
            self.check()
        return block

    def check(self) -> None:
        """Raise UndecodableError after the time limit."""
        self._unchecked = 0
        if time.thread_time() > self.until:
            raise UndecodableError(
                f"image {self.number} takes too long to decode: expected simpler or fewer pictures", self.number
            )


class _WithoutPillowsLimit(ContextDecorator):
    """Lift Pillow's global limit on pixels while any thread decodes here.

    Our own limit is checked before decoding, and can be higher.
    """

    def __init__(self) -> None:
        self._lock, self._threads = threading.Lock(), 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                Image.MAX_IMAGE_PIXELS = self._limit


def ignore_metadata_warnings() -> None:
    """Ignore Pillow's warnings of damaged metadata: those of clients' pictures are of no use to an operator.

    Call this at the entry of a process that decodes: warning filters cannot be changed for one of several threads.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def is_fast_to_decode(pictures: Sequence[bytes]) -> bool:
    """Return whether this is a single small PNG, by the size in its header, which decoding cannot exceed."""
    if len(pictures) != 1 or not PNG_HEAD.size <= len(pictures[0]) <= FAST_MAX_BYTES:
        return False
    signature, width, height = PNG_HEAD.unpack_from(pictures[0])
    return bool(signature == PNG_SIGNATURE and width * height <= FAST_MAX_PIXELS)


def decode_all(pictures: Sequence[bytes], shape: InputShape, settings: Settings) -> npt.NDArray[np.uint8]:
    """Decode a request's pictures to pixels uint8 [N, H, W, C]; they share one time limit. Raises as `decode` does."""
    until = time.thread_time() + settings.decode_ms / 1000
    decoded = [
        decode_quickly(data, shape, settings.max_pixels, number, formats=settings.formats, until=until)
        for number, data in enumerate(pictures)
    ]
    return np.stack(decoded) if len(decoded) > 1 else decoded[0][None]


def decode_quickly(
    data: bytes, shape: InputShape, max_pixels: int, number: int, *, formats: Sequence[str] = FORMATS, until: float
) -> npt.NDArray[np.uint8]:
    """Decode as `decode` does, in half the time for a plain PNG of the model's own size."""
    may_be_plain = "png" in formats and shape.height * shape.width <= max_pixels
    pixels = png.decode_plain(data, shape) if may_be_plain and time.thread_time() < until else None
    return decode(data, shape, max_pixels, number, formats=formats, until=until) if pixels is None else pixels


@_WithoutPillowsLimit()
def decode(
    data: bytes,
    shape: InputShape,
    max_pixels: int,
    number: int = 0,
    *,
    formats: Sequence[str] = FORMATS,
    until: float = math.inf,
) -> npt.NDArray[np.uint8]:
    """Decode one picture to pixels uint8 [H, W, C]; `number` is its index in the request, for error messages.

    `until` is in seconds of `time.thread_time`. Raises MediaTypeError, TooLargeError or UndecodableError.
    """
    if not data:
        raise UndecodableError(f"image {number} is empty: expected the bytes of a picture", number)
    limited, known = TimeLimitedBytes(data, until, number), [name.upper() for name in formats]
    try:
        picture = Image.open(limited, formats=known)
        width, height = picture.size
        side = 2 * max(shape.height, shape.width)
        picture.draft(None, (side, side))  # JPEG alone can decode at a fraction of its size
        if _is_single_scan_jpeg(data):  # then decoding needs no more memory than that
            width, height = picture.size
    except UnidentifiedImageError as error:
        if _has_signature(data, known):
            raise _undecodable(number) from error
        message = f"image {number} is not a picture of a supported type: {', '.join(known)}"
        raise MediaTypeError(message, number) from error
    except DECODING_ERRORS as error:
        raise _undecodable(number) from error
    # Check before anything else: even looking for an orientation may decode a PNG.
    if width * height > max_pixels:
        raise TooLargeError(
            f"image {number} has {width} x {height} pixels: at most {max_pixels:,} pixels are allowed", number
        )
    try:
        picture.decodermaxblock = BLOCK_BYTES
        picture.load()
        _match_transparency(picture, data)
        orientation = _orientation(picture)
        target = (shape.height, shape.width) if orientation in QUARTER_TURNS else (shape.width, shape.height)
        final = _upright_over_white(_resized(picture, target), orientation, "L" if shape.channels == 1 else "RGB")
    except DECODING_ERRORS as error:
        raise _undecodable(number) from error
    limited.check()
    return np.frombuffer(final.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _has_signature(data: bytes, formats: Sequence[str]) -> bool:
    accepting = (Image.OPEN[name][1] for name in formats)
    return any(accept is not None and accept(data[:16]) is True for accept in accepting)


def _undecodable(number: int) -> UndecodableError:
    return UndecodableError(f"image {number} cannot be decoded: it is damaged or cut short", number)


def _is_single_scan_jpeg(data: bytes) -> bool:
    """Return whether this is a sequential JPEG with one scan; of others a decoder keeps all coefficients in memory.

    False where the markers leave it in doubt.
    """
    offset, sequential, components = 2, False, -1
    while data[:2] == b"\xff\xd8" and data[offset : offset + 1] == b"\xff" and offset + 9 < len(data):
        marker, length = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        if marker == START_OF_SCAN:
            return sequential and data[offset + 4] == components
        if marker < 0xC0 or marker in WITHOUT_LENGTH:
            break
        if marker in START_OF_FRAME:
            sequential, components = marker in SEQUENTIAL, data[offset + 9]
        offset += 2 + length
    return False


def _match_transparency(picture: Image.Image, data: bytes) -> None:
    """Scale the transparent colour of a PNG, which Pillow keeps as stored, to the 8 bits of the pixels."""
    colour = picture.info.get("transparency")
    if picture.format != "PNG":
        return
    depth = data[PNG_DEPTH_OFFSET]
    if isinstance(colour, tuple) and depth == 16:
        picture.info["transparency"] = tuple(each >> 8 for each in colour)
    elif isinstance(colour, int) and picture.mode == "L":
        picture.info["transparency"] = colour * 255 // (2**depth - 1)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) where it is missing or damaged."""
    if picture.format == "PNG" and not picture.info:
        return 1
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises almost anything
        return 1


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop the largest centred part with the aspect ratio of `size`, and resize it."""
    scale = min(picture.width / size[0], picture.height / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    whole = (width, height) == picture.size
    part = _to_8_bits(picture if whole else picture.crop((left, top, left + width, top + height)))
    return part if part.size == size else part.resize(size, Image.Resampling.BICUBIC)


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
        grey.putalpha(Image.fromarray(np.where(deep == picture.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _upright_over_white(picture: Image.Image, orientation: int, mode: str) -> Image.Image:
    """Apply the orientation, composite over white, and convert to `mode`."""
    if orientation in TRANSPOSITIONS:
        picture = picture.transpose(TRANSPOSITIONS[orientation])
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture if picture.mode == mode else picture.convert(mode)
