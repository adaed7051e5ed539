"""Read TIFF (revision 6.0): the first directory, of which the tags that decoding needs are written anew."""

from __future__ import annotations

import ctypes
import struct
from ctypes.util import find_library
from functools import cache, partial
from operator import add
from pathlib import Path

import PIL

from model_store.images.errors import ImageDamagedError, ImageTypeError
from model_store.images.exif import BYTE_ORDERS, ORIENTATION, SHORT, UPRIGHT
from model_store.images.header import Check, Header, Loaded, check_size, open_picture
from model_store.images.pixels import COPIES_BYTES

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
FAX_OPTIONS, FAX_4_OPTIONS, PREDICTOR, PALETTE = 292, 293, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING = 338, 339, 347, 530
# Values of each tag at most; of those with one for each strip or tile, as many as a picture of rows has.
MAX_STRIPS = 16_384
COUNTS = (
    dict.fromkeys((WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANES), 1)
    | dict.fromkeys((FAX_OPTIONS, FAX_4_OPTIONS, PREDICTOR, TILE_WIDTH, TILE_HEIGHT), 1)
    | dict.fromkeys((STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES), MAX_STRIPS)
    | dict.fromkeys((BITS, EXTRA_SAMPLES, SAMPLE_FORMAT), 8)
    | {PALETTE: 3 * 256, JPEG_TABLES: 65_536, SUBSAMPLING: 2}
)
ENTRY = "HHI4s"
ENTRY_BYTES, MAX_ENTRIES = 12, 512
# Types BYTE, SHORT, LONG and UNDEFINED.
TYPE_BYTES = {1: 1, 3: 2, 4: 4, 7: 1}
JPEG = 7
# None, CCITT, LZW, JPEG, deflate and PackBits: each with little memory of its own.
COMPRESSIONS = (1, 2, 3, 4, 5, JPEG, 8, 32773, 32946)
# Bytes a pixel: of samples of 16 bits, as libtiff and Pillow hold them, and of the coefficients of a JPEG.
SAMPLES_BYTES, COEFFICIENTS_BYTES = 16, 10

Tags = dict[int, bytes]


def read_header(data: bytes, side: int) -> Header:
    """Read the first directory; raise ImageDamagedError, or ImageTypeError for a kind that is not read."""
    order = BYTE_ORDERS.get(data[:4])
    if order is None:
        raise ImageTypeError("is a TIFF of a kind that is not read: expected the classic one, up to 4 GiB")
    tags, orientation = _read_directory(data, order)
    width, height = _value(tags, WIDTH, order, 0), _value(tags, HEIGHT, order, 0)
    compression = _value(tags, COMPRESSION, order, 1)
    if compression not in COMPRESSIONS:
        raise ImageTypeError("is a TIFF of a kind that is not read: expected no compression, LZW, deflate, JPEG or fax")
    tile = _value(tags, TILE_WIDTH, order, 0) * _value(tags, TILE_HEIGHT, order, 0)
    pixels = width * height
    if not pixels or _value(tags, SAMPLES, order, 1) > 8 or tile > 4 * max(pixels, 2**20):
        raise ImageDamagedError
    held = SAMPLES_BYTES + (COEFFICIENTS_BYTES if compression == JPEG else 0)
    memory = COPIES_BYTES * pixels + held * (pixels + tile) + 2 * len(data)
    is_grey = _value(tags, PHOTOMETRIC, order, 0) in (0, 1)
    load = partial(_load, data, tags, order, orientation, (width, height))
    return Header("TIFF", width, height, pixels, memory, is_grey, load)


def _read_directory(data: bytes, order: str) -> tuple[Tags, int]:
    """Return the entries of tags that decoding needs, and the orientation."""
    entry, tags, orientation = struct.Struct(order + ENTRY), Tags(), UPRIGHT
    if len(data) < 8:
        raise ImageDamagedError
    (offset,) = struct.unpack_from(f"{order}I", data, 4)
    if offset + 2 > len(data):
        raise ImageDamagedError
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    if count > MAX_ENTRIES or offset + 2 + count * ENTRY_BYTES > len(data):
        raise ImageDamagedError
    outside_bytes = 0
    for place in range(offset + 2, offset + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
        tag, kind, number, value = entry.unpack_from(data, place)
        if tag == ORIENTATION and kind == SHORT and number == 1:
            orientation = struct.unpack_from(f"{order}H", value)[0]
        if tag not in COUNTS or tag in tags:
            continue
        size = number * TYPE_BYTES.get(kind, 0)
        if size > len(value):
            outside_bytes += size
            if struct.unpack(f"{order}I", value)[0] + size > len(data):
                raise ImageDamagedError
        if not size or number > COUNTS[tag] or outside_bytes > len(data):
            raise ImageDamagedError
        tags[tag] = data[place : place + ENTRY_BYTES]
    return tags, orientation if 1 <= orientation <= 8 else UPRIGHT


def _value(tags: Tags, tag: int, order: str, default: int) -> int:
    """Return the one value of a tag."""
    if tag not in tags:
        return default
    kind = struct.unpack_from(f"{order}HH", tags[tag])[1]
    return int(struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", tags[tag], 8)[0])


def _values(data: bytes, tags: Tags, tag: int, order: str) -> tuple[int, ...]:
    """Return all values of a tag, which are in its entry where they fit, else elsewhere in the file."""
    if tag not in tags:
        return ()
    _, kind, number, value = struct.unpack(order + ENTRY, tags[tag])
    form = f"{order}{number}{'H' if kind == SHORT else 'I' if TYPE_BYTES[kind] == 4 else 'B'}"
    if struct.calcsize(form) <= len(value):
        return struct.unpack_from(form, value)
    return struct.unpack_from(form, data, struct.unpack(f"{order}I", value)[0])


def _check_extents(data: bytes, tags: Tags, order: str) -> None:
    """Raise ImageDamagedError if samples are missing: what is written behind them would be taken for them."""
    expected = 0
    if _value(tags, COMPRESSION, order, 1) == 1:
        bits, samples = _values(data, tags, BITS, order) or (1,), _value(tags, SAMPLES, order, 1)
        row_bits = _value(tags, WIDTH, order, 0) * (sum(bits) if len(bits) == samples else samples * bits[0])
        expected = _value(tags, HEIGHT, order, 0) * -(-row_bits // 8)
    offsets = _values(data, tags, STRIP_OFFSETS, order) or _values(data, tags, TILE_OFFSETS, order)
    sizes = _values(data, tags, STRIP_BYTES, order) or _values(data, tags, TILE_BYTES, order)
    if sum(sizes) < expected or any(map(len(data).__lt__, map(add, offsets, sizes))):
        raise ImageDamagedError


def _load(data: bytes, tags: Tags, order: str, orientation: int, size: tuple[int, int], check: Check) -> Loaded:
    """Decode what the directory says that is written at the end of the file, in place of its own."""
    silence_libtiff()
    _check_extents(data, tags, order)
    padding = bytes(len(data) % 2)
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(tags[tag] for tag in sorted(tags)) + bytes(4)
    head = data[:4] + struct.pack(f"{order}I", len(data) + len(padding))
    picture = open_picture("TIFF", (head, memoryview(data)[8:], padding + directory), check)
    check_size(picture, *size)
    picture.load()
    return picture, orientation


@cache
def silence_libtiff() -> None:
    """Have libtiff print nothing: by default it writes to standard error whatever is wrong with a file."""
    bundled = Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*")
    found = next(map(str, bundled), None) or find_library("tiff")
    # Without one, Pillow has its own copy within, whose handlers cannot be reached.
    if found is not None:
        library = ctypes.CDLL(found)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
