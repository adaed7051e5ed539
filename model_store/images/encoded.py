"""Open a picture by its header, and decode it to the pixels that a model takes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from model_store.images.errors import ImageDamagedError, ImageTooLargeError, ImageTypeError
from model_store.images.header import SMALL_BYTES, Check, Header, Interrupted, interruptible, without_pillows_limit
from model_store.images.pixels import Shape, resizing_bytes, to_pixels
from model_store.images.readers import bmp, gif, jpeg, png, tiff, webp

# A PNG within both is decoded in about 0.1 ms.
QUICK_MAX_BYTES, QUICK_MAX_PIXELS = 4_096, 4_096
# What Pillow takes for any picture, beside its pixels.
FIXED_BYTES = 2 * 2**20
READERS: dict[str, Callable[[bytes, int], Header]] = {
    "png": png.read_header,
    "jpeg": jpeg.read_header,
    "webp": webp.read_header,
    "bmp": bmp.read_header,
    "gif": gif.read_header,
    "tiff": tiff.read_header,
}
# Everything that Pillow's decoders raise for damaged files.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, AssertionError),
    *(struct.error, zlib.error, OverflowError, NotImplementedError),
)


class EncodedImage:
    """Picture whose header was read and found within limits.

    `format`, `width` and `height` are those of what is decoded: a JPEG of a much larger size, its `full_size`, is
    decoded at a fraction of it. `work` are the pixels, each as often as decoding goes over it. `is_grey` says whether
    it has no colour. `decoding_bytes` bounds the memory that `decode` takes beside the bytes of the file. A `quick` one
    is decoded in well under a millisecond.
    """

    __slots__ = ("_data", "_read", "_shape")

    def __init__(self, data: bytes, shape: Shape, header: Header | None) -> None:
        """Keep a picture; without a header, it is a PNG that `png.looks_plain`."""
        self._data, self._shape, self._read = data, shape, header

    @property
    def _header(self) -> Header:
        if self._read is None:
            self._read = _read_header(self._data, "png", self._shape)
        return self._read

    @property
    def format(self) -> str:
        return self._header.format

    @property
    def width(self) -> int:
        return self._header.width

    @property
    def height(self) -> int:
        return self._header.height

    @property
    def full_size(self) -> tuple[int, int]:
        return self._header.full_size or (self.width, self.height)

    @property
    def work(self) -> int:
        return self._header.pixels * self._header.passes

    @property
    def is_grey(self) -> bool:
        return self._header.is_grey

    @property
    def decoding_bytes(self) -> int:
        if self._read is None:
            # As in a header, without the time that it takes: rows of one picture, the same as bytes, and as an array.
            pixels = self._shape.width * self._shape.height
            return 4 * 8 * pixels + 3 * len(self._data) + FIXED_BYTES
        header = self._read
        copy = min(len(self._data), SMALL_BYTES)
        return header.decoding_bytes + resizing_bytes(header.width, header.height, self._shape) + copy + FIXED_BYTES

    @property
    def quick(self) -> bool:
        if len(self._data) > QUICK_MAX_BYTES:
            return False
        if self._read is None:
            return self._shape.width * self._shape.height <= QUICK_MAX_PIXELS
        return self._read.format == "PNG" and self._read.pixels <= QUICK_MAX_PIXELS

    def decode(self, check: Check | None = None) -> npt.NDArray[np.uint8]:
        """Decode to pixels uint8 [H, W, C] of the shape; raise ImageDamagedError.

        `check` is called every few KiB and between steps; what it raises ends decoding and is raised from here.
        """
        if check is not None:
            check()
        if self._read is None:
            pixels = png.decode_plain(self._data, self._shape)
            if pixels is not None:
                return pixels
        try:
            return self._decoded(interruptible(check))
        except Interrupted as interrupted:
            raise interrupted.error from None

    @without_pillows_limit
    def _decoded(self, check: Check) -> npt.NDArray[np.uint8]:
        try:
            pixels = to_pixels(self._header.load, self._shape, check)
        except DECODING_ERRORS as error:
            raise ImageDamagedError from error
        check()
        return pixels


def open_image(data: bytes, shape: Shape, *, formats: Sequence[str], max_pixels: int) -> EncodedImage:
    """Read the header of a picture in one of `formats`, in bounded time and memory.

    Raises ImageTypeError for anything else, ImageTooLargeError if more than `max_pixels` pixels would be decoded, and
    ImageDamagedError.
    """
    if not data:
        raise ImageDamagedError("is empty: expected the bytes of a picture")
    if png.looks_plain(data, shape) and shape.width * shape.height <= max_pixels and "png" in formats:
        return EncodedImage(data, shape, None)
    name = image_format(data)
    if name not in formats:
        known = ", ".join(each.upper() for each in formats)
        raise ImageTypeError(f"is not a picture of a supported type: {known}")
    header = _read_header(data, name, shape)
    if header.pixels > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise ImageTooLargeError(f"has {size}: at most {max_pixels:,} pixels are allowed")
    return EncodedImage(data, shape, header)


def _read_header(data: bytes, name: str, shape: Shape) -> Header:
    try:
        return READERS[name](data, 2 * max(shape.height, shape.width))
    except DECODING_ERRORS as error:
        raise ImageDamagedError from error


def image_format(data: bytes) -> str:
    """Return the format that the first 16 bytes are of; empty for none that is known here."""
    if data.startswith(png.SIGNATURE):
        return "png"
    if data.startswith(jpeg.START + b"\xff"):
        return "jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"BM"):
        return "bmp"
    return "tiff" if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) else ""
