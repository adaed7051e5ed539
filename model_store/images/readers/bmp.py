"""Read Windows bitmaps: Pillow reads the header itself, once its lengths are known to be small."""

from __future__ import annotations

import struct
from functools import partial

from PIL.ImageFile import ImageFile

from model_store.images.errors import ImageDamagedError, ImageTooLargeError
from model_store.images.exif import UPRIGHT
from model_store.images.header import Check, Header, Loaded, check_size, open_picture, without_pillows_limit
from model_store.images.pixels import COPIES_BYTES

# Of the file: signature, size, reserved, and where the pixels begin; then the length of the header.
FILE_HEAD_BYTES = 14
OLD_HEADER_BYTES, HEADERS_BYTES = 12, (40, 52, 56, 64, 108, 124)
# Offsets in the file of the bits a pixel and of the number of colours, in any but the old header.
BITS_AT, COLOURS_AT = 28, 46
MAX_COLOURS = 256
# Pillow decompresses in Python, and fills a row in one go.
MAX_COMPRESSED_WIDTH = 65_535
# Bytes a pixel of compressed ones: as they grow, as they were read, and as a picture.
COMPRESSED_BYTES = 6
# Time of a compressed pixel, as a multiple of that of another (measured).
COMPRESSED_PASSES = 20


@without_pillows_limit
def read_header(data: bytes, side: int) -> Header:
    """Read the header and the palette; raise ImageDamagedError or ImageTooLargeError."""
    _check_lengths(data)
    picture = _open(data, lambda: None)
    width, height = picture.size
    is_compressed = picture.tile[0].codec_name == "bmp_rle"
    if is_compressed and width > MAX_COMPRESSED_WIDTH:
        raise ImageTooLargeError(f"is {width:,} pixels wide: at most {MAX_COMPRESSED_WIDTH:,} are allowed")
    copies = COPIES_BYTES + COMPRESSED_BYTES * is_compressed
    row_bytes = 4 * width
    pixels = width * height
    memory, is_grey = copies * pixels + 4 * row_bytes, picture.mode in ("1", "L")
    passes = COMPRESSED_PASSES if is_compressed else 1
    return Header("BMP", width, height, pixels, memory, is_grey, partial(_load, data, picture.size), passes)


def _check_lengths(data: bytes) -> None:
    """Raise ImageDamagedError if the header or the palette is longer than there are such."""
    length = int.from_bytes(data[FILE_HEAD_BYTES : FILE_HEAD_BYTES + 4], "little")
    if length == OLD_HEADER_BYTES:
        return
    if length not in HEADERS_BYTES or len(data) < FILE_HEAD_BYTES + length:
        raise ImageDamagedError
    (bits,), (colours,) = struct.unpack_from("<H", data, BITS_AT), struct.unpack_from("<I", data, COLOURS_AT)
    if bits > 32 or (bits <= 8 and colours > MAX_COLOURS):
        raise ImageDamagedError


def _open(data: bytes, check: Check) -> ImageFile:
    return open_picture("BMP", (data,), check)


def _load(data: bytes, size: tuple[int, int], check: Check) -> Loaded:
    picture = _open(data, check)
    check_size(picture, *size)
    picture.load()
    return picture, UPRIGHT
