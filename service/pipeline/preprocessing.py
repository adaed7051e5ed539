"""Bytes of a picture to the pixels that a model takes, read as people see it.

The number of pixels is checked before anything is decoded. A picture of another size is cut to the model's shape around
its centre and resized: the manifest's one rule. Only then, when it is small, is it turned upright and put over white.

Time is checked whenever Pillow asks for more of a picture, which for PNG, JPEG, GIF and BMP is every 2 KiB. Between two
checks no thread can be stopped, but what comes between them is bounded by the pixels. WebP and TIFF are decoded in one
piece, so their time is bounded by their pixels alone, and only checked afterwards.
"""

from __future__ import annotations

import math
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError
from service.pipeline import png
from service.settings import FORMATS, Settings

# Bytes between two looks at the clock: a progressive JPEG can ask for a pass over all pixels in 30 of them.
BLOCK = 2048
ORIENTATION_TAG = 0x0112
PNG_DEPTH = 24  # where a PNG has its bits a sample
# How every PNG begins, up to its width and height; one with at most so many bytes and pixels is decoded quickly.
PNG_BEGIN = struct.Struct(">16sII")
PNG_SIGNATURE = png.SIGNATURE + b"\0\0\0\rIHDR"
QUICK_BYTES, QUICK_PIXELS = 4096, 4096
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
# Markers of JPEG.
START_OF_SCAN = 0xDA
SEQUENTIAL = (0xC0, 0xC1)
START_OF_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
ALONE = range(0xD0, 0xDA)  # without a length
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


class TimeLimitedBytes(BytesIO):
    """A picture's bytes, which no longer come once this thread has computed until `until`, in its own seconds."""

    def __init__(self, data: bytes, until: float, number: int) -> None:
        super().__init__(data)
        self.until, self.number = until, number
        self._unchecked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        # The clock is asked for more than a PNG's many small reads.
        self._unchecked += len(found)
        if self._unchecked >= BLOCK:
            self.check()
        return found

    def check(self) -> None:
        """Raise UndecodableError where the time is up."""
        self._unchecked = 0
        if time.thread_time() > self.until:
            raise UndecodableError(
                f"image {self.number} takes too long to decode: expected simpler or fewer pictures", self.number
            )


class _WithoutPillowsLimit:
    """Lift Pillow's limit on pixels while any thread decodes here; it is no argument of its functions but a global.

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


_without_pillows_limit = _WithoutPillowsLimit()


def ignore_metadata_warnings() -> None:
    """Ignore Pillow's warnings of damaged metadata in this process: no operator should read about a client's.

    For the entry of a process that decodes; filters cannot be changed for one of several threads.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def quick(pictures: Sequence[bytes]) -> bool:
    """Whether they are decoded in about 0.1 ms: a single small PNG, as its own header says and cannot exceed."""
    if len(pictures) != 1 or not PNG_BEGIN.size <= len(pictures[0]) <= QUICK_BYTES:
        return False
    begin, width, height = PNG_BEGIN.unpack_from(pictures[0])
    return bool(begin == PNG_SIGNATURE and width * height <= QUICK_PIXELS)


def decode_all(pictures: Sequence[bytes], shape: InputShape, settings: Settings) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [N, H, W, C] of a request's pictures, which share one time; raise as `decode` does."""
    until = time.thread_time() + settings.decode_ms / 1000
    decoded = [
        decode_quickly(data, shape, settings.max_pixels, number, formats=settings.formats, until=until)
        for number, data in enumerate(pictures)
    ]
    return np.stack(decoded) if len(decoded) > 1 else decoded[0][None]


def decode_quickly(
    data: bytes,
    shape: InputShape,
    max_pixels: int,
    number: int = 0,
    *,
    formats: Sequence[str] = FORMATS,
    until: float = math.inf,
) -> npt.NDArray[np.uint8]:
    """As `decode`, and in half the time for a plain PNG of the model's own size."""
    may_be_plain = "png" in formats and shape.height * shape.width <= max_pixels
    pixels = png.plain(data, shape) if may_be_plain and time.thread_time() < until else None
    return decode(data, shape, max_pixels, number, formats=formats, until=until) if pixels is None else pixels


def decode(
    data: bytes,
    shape: InputShape,
    max_pixels: int,
    number: int = 0,
    *,
    formats: Sequence[str] = FORMATS,
    until: float = math.inf,
) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [H, W, C] of one picture; `number` is its place in the request, for messages.

    `until` is in seconds of `time.thread_time`. Raises MediaTypeError, TooLargeError or UndecodableError.
    """
    if not data:
        raise UndecodableError(f"image {number} is empty: expected the bytes of a picture", number)
    with _without_pillows_limit:
        return _decode(data, shape, max_pixels, number, formats, until)


def _decode(
    data: bytes, shape: InputShape, max_pixels: int, number: int, formats: Sequence[str], until: float
) -> npt.NDArray[np.uint8]:
    limited, known = TimeLimitedBytes(data, until, number), [name.upper() for name in formats]
    try:
        picture = Image.open(limited, formats=known)
        width, height = picture.size
        side = 2 * max(shape.height, shape.width)
        picture.draft(None, (side, side))  # JPEG alone can decode at a fraction of its size
        if _in_one_scan(data):  # and need no more memory than that
            width, height = picture.size
    except UnidentifiedImageError as error:
        if _begins_as(data, known):
            raise _undecodable(number) from error
        raise MediaTypeError(
            f"image {number} is not a picture of a type read here: {', '.join(known)}", number
        ) from error
    except DECODING_ERRORS as error:
        raise _undecodable(number) from error
    # Before anything else: even the search for an orientation may decode a PNG.
    if width * height > max_pixels:
        raise TooLargeError(
            f"image {number} has {width} x {height} pixels: at most {max_pixels:,} pixels are allowed", number
        )
    try:
        picture.decodermaxblock = BLOCK
        picture.load()
        _match_transparency(picture, data)
        orientation = _orientation(picture)
        target = (shape.height, shape.width) if orientation in SIDEWAYS else (shape.width, shape.height)
        seen = _as_seen(_resized(picture, target), orientation, "L" if shape.channels == 1 else "RGB")
    except DECODING_ERRORS as error:
        raise _undecodable(number) from error
    limited.check()
    return np.frombuffer(seen.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _begins_as(data: bytes, formats: Sequence[str]) -> bool:
    """Whether the first bytes are those of one of the formats, whatever comes after them."""
    accepting = (Image.OPEN[name][1] for name in formats)
    return any(accept is not None and accept(data[:16]) is True for accept in accepting)


def _undecodable(number: int) -> UndecodableError:
    return UndecodableError(f"image {number} cannot be decoded: it is damaged or cut short", number)


def _in_one_scan(data: bytes) -> bool:
    """Whether this is a JPEG that has all of each pixel in one place; of others, a decoder holds all coefficients.

    Whatever is not plain to see is taken for one of the others.
    """
    at, sequential, components = 2, False, -1
    while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and at + 9 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            return sequential and data[at + 4] == components
        if marker < 0xC0 or marker in ALONE:
            break
        if marker in START_OF_FRAME:
            sequential, components = marker in SEQUENTIAL, data[at + 9]
        at += 2 + length
    return False


def _match_transparency(picture: Image.Image, data: bytes) -> None:
    """Give the transparent colour of a PNG, which Pillow has as it was stored, the 8 bits of the pixels."""
    colour = picture.info.get("transparency")
    if picture.format != "PNG":
        return
    depth = data[PNG_DEPTH]
    if isinstance(colour, tuple) and depth == 16:
        picture.info["transparency"] = tuple(each >> 8 for each in colour)
    elif isinstance(colour, int) and picture.mode == "L":
        picture.info["transparency"] = colour * 255 // (2**depth - 1)


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8; upright where there is none or it is damaged."""
    if picture.format == "PNG" and not picture.info:
        return 1
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises almost anything
        return 1


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest part around the centre that has the proportions of `size`, at that size."""
    scale = min(picture.width / size[0], picture.height / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    whole = (width, height) == picture.size
    part = _plain(picture if whole else picture.crop((left, top, left + width, top + height)))
    return part if part.size == size else part.resize(size, Image.Resampling.BICUBIC)


def _plain(picture: Image.Image) -> Image.Image:
    """The same in 8 bits, without a palette or a transparent colour, which cannot be interpolated."""
    if picture.mode.startswith("I;16"):
        return _of_sixteen_bits(picture)
    if picture.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, of which nobody knows which is white")
    if "transparency" in picture.info or picture.mode == "PA":
        return picture.convert("RGBA")
    return picture.convert("RGB") if picture.mode in ("1", "P") else picture


def _of_sixteen_bits(picture: Image.Image) -> Image.Image:
    """Of 16 bits the upper 8, and of a transparent grey an alpha."""
    deep = np.asarray(picture)
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray(np.where(deep == picture.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _as_seen(picture: Image.Image, orientation: int, mode: str) -> Image.Image:
    """Upright, over white, in `mode`."""
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture if picture.mode == mode else picture.convert(mode)
