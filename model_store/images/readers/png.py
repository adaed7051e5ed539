"""Read PNG (ISO/IEC 15948): the header, the palette, the transparent colour, and the pixels of the default image.

A plain file of the model's own size, eight bits and without metadata, is decoded by Pillow's pixel decoder directly,
without the work around it for pictures of any kind, which takes longer.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile

from model_store.images.errors import ImageDamagedError
from model_store.images.exif import MAX_BLOCK_BYTES, UPRIGHT, read_orientation
from model_store.images.header import Check, Header, Loaded, Segment, check_size, open_picture
from model_store.images.pixels import COPIES_BYTES, DEEP_COPIES_BYTES, GREY_COPIES_BYTES, Shape

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A chunk: length and type, content, and the CRC-32 of type and content.
CHUNK_HEAD, CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
# Content of IHDR: width, height, bit depth, colour type, compression, filter, interlace.
IHDR = struct.Struct(">IIBBBBB")
# Where IHDR, always the first chunk, has its content, and where it ends.
IHDR_BEGIN = len(SIGNATURE) + CHUNK_HEAD.size
IHDR_CONTENT_END = IHDR_BEGIN + IHDR.size
IHDR_END = IHDR_CONTENT_END + CHECKSUM.size
BEGIN = SIGNATURE + CHUNK_HEAD.pack(IHDR.size, b"IHDR")
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
# Chunks before the pixels; Photoshop's have a dozen, and with text hardly a hundred.
MAX_CHUNKS = 1_024
MAX_PALETTE_BYTES = 3 * 256
# Fewest bytes of a file for each chunk of pixels, beyond the first MAX_CHUNKS: encoders write thousands.
MIN_CHUNK_BYTES = 64
# Pillow's mode and PNG's colour type of plain files, by the model's channels.
PLAIN = {1: ("L", GREY), 3: ("RGB", RGB)}


@dataclass(frozen=True, slots=True)
class Chunks:
    """Header, and contents of the chunks that matter, of a file whose pixels begin at `pixels`."""

    width: int
    height: int
    depth: int
    colour: int
    interlace: int
    palette: bytes | None
    transparent: bytes | None
    exif: bytes | None
    pixels: int


def read_header(data: bytes, side: int) -> Header:
    """Read all before the pixels; raise ImageDamagedError."""
    chunks = _read_chunks(data)
    is_grey = chunks.colour in (GREY, GREY_ALPHA)
    copies = COPIES_BYTES
    if chunks.depth == 16 and (chunks.colour == GREY or chunks.transparent):
        copies = DEEP_COPIES_BYTES
    elif chunks.colour == GREY and chunks.depth > 1 and not chunks.transparent:
        copies = GREY_COPIES_BYTES
    row = chunks.width * CHANNELS[chunks.colour] * 2
    pixels = chunks.width * chunks.height
    load = partial(_load, data, chunks)
    return Header("PNG", chunks.width, chunks.height, pixels, copies * pixels + 4 * row + 2 * len(data), is_grey, load)


def looks_plain(data: bytes, shape: Shape) -> bool:
    """Return whether `decode_plain` is worth trying: this is the header, and then come the pixels."""
    return (
        data[:IHDR_BEGIN] == BEGIN
        and data[IHDR_BEGIN:IHDR_CONTENT_END] == _plain_ihdr(shape)
        and (data[IHDR_END + 4 : IHDR_END + 8] == b"IDAT")
    )


def decode_plain(data: bytes, shape: Shape) -> npt.NDArray[np.uint8] | None:
    """Return the pixels uint8 [H, W, C] of a plain, undamaged PNG of this shape; None for any other file."""
    compressed = _compressed_pixels(data) if looks_plain(data, shape) else None
    if compressed is None:
        return None
    mode, _ = PLAIN[shape.channels]
    try:
        picture = Image.frombytes(mode, (shape.width, shape.height), compressed, "zip", mode, 0)
    except (ValueError, OSError):
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _plain_ihdr(shape: Shape) -> bytes:
    return IHDR.pack(shape.width, shape.height, 8, PLAIN[shape.channels][1], 0, 0, 0)


def _compressed_pixels(data: bytes) -> bytes | None:
    """Return the content of all IDAT chunks; None where a checksum is wrong, or other chunks exist."""
    offset, contents = len(SIGNATURE), list[bytes]()
    while offset + CHUNK_HEAD.size <= len(data):
        length, kind = CHUNK_HEAD.unpack_from(data, offset)
        begin = offset + CHUNK_HEAD.size
        end = begin + length
        offset = end + CHECKSUM.size
        if offset > len(data) or CHECKSUM.unpack_from(data, end) != (zlib.crc32(data[begin - len(kind) : end]),):
            return None
        if kind == b"IEND":
            return b"".join(contents) if contents and offset == len(data) else None
        if kind == b"IDAT":
            contents.append(data[begin:end])
        elif offset != IHDR_END:
            return None
    return None


def _read_chunks(data: bytes) -> Chunks:
    width, height, depth, colour, interlace = _read_ihdr(data)
    offset, kept = IHDR_END, dict[bytes, bytes]()
    for _ in range(MAX_CHUNKS):
        length, kind, begin = _chunk_at(data, offset)
        if kind == b"IDAT":
            break
        if kind in (b"IHDR", b"IEND") or (kind in kept and kind != b"eXIf"):
            raise ImageDamagedError
        if kind == b"eXIf":
            kept.setdefault(kind, data[begin : begin + min(length, MAX_BLOCK_BYTES)])
        if kind in (b"PLTE", b"tRNS"):
            kept[kind] = _checked_content(data, begin, length)
        offset = begin + length + CHECKSUM.size
    else:
        raise ImageDamagedError
    palette, transparent = kept.get(b"PLTE"), kept.get(b"tRNS")
    if colour == PALETTE and not palette:
        raise ImageDamagedError
    if transparent is not None and len(transparent) < {GREY: 2, RGB: 6}.get(colour, 0):
        raise ImageDamagedError
    return Chunks(width, height, depth, colour, interlace, palette, transparent, kept.get(b"eXIf"), offset)


def _read_ihdr(data: bytes) -> tuple[int, int, int, int, int]:
    """Return width, height, depth, colour type and interlace method."""
    length, kind, begin = _chunk_at(data, len(SIGNATURE))
    if kind != b"IHDR" or length != IHDR.size:
        raise ImageDamagedError
    width, height, depth, colour, compression, filtering, interlace = IHDR.unpack(_checked_content(data, begin, length))
    known = depth in DEPTHS.get(colour, ()) and compression == filtering == 0 and interlace in (0, 1)
    if not known or not 0 < width < 2**31 or not 0 < height < 2**31:
        raise ImageDamagedError
    return width, height, depth, colour, interlace


def _chunk_at(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """Return length, type and begin of the content of the chunk at an offset."""
    if offset + CHUNK_HEAD.size > len(data):
        raise ImageDamagedError
    length, kind = CHUNK_HEAD.unpack_from(data, offset)
    if not kind.isalpha():
        raise ImageDamagedError
    return length, kind, offset + CHUNK_HEAD.size


def _checked_content(data: bytes, begin: int, length: int) -> bytes:
    end = begin + length
    if length > MAX_PALETTE_BYTES or end + CHECKSUM.size > len(data):
        raise ImageDamagedError
    if CHECKSUM.unpack_from(data, end) != (zlib.crc32(data[begin - 4 : end]),):
        raise ImageDamagedError
    return data[begin:end]


def _load(data: bytes, chunks: Chunks, check: Check) -> Loaded:
    compressed, rest = _pixel_chunks(data, chunks.pixels, check)
    exif = chunks.exif or _late_exif(data, rest)
    picture = _decoded(chunks, compressed, check)
    if chunks.transparent and chunks.colour == RGB and chunks.depth == 16:
        low = _decoded(chunks, compressed, check, "RGB;16L")
        picture.putalpha(_opaque(picture, low, struct.unpack(">3H", chunks.transparent[:6])))
    elif chunks.transparent and chunks.colour in (GREY, RGB):
        picture.info["transparency"] = _transparent_colour(chunks.transparent, chunks)
    return picture, read_orientation(exif) if exif else UPRIGHT


def _pixel_chunks(data: bytes, offset: int, check: Check) -> tuple[Segment, int]:
    """Return the content of successive IDAT chunks and the offset of the chunk after them."""
    view, size, end = memoryview(data), 0, offset
    for begin, after in _spans(data, offset, check):
        size, end = size + after - begin, after + CHECKSUM.size
    begin = offset + CHUNK_HEAD.size
    if end == begin + size + CHECKSUM.size:
        return view[begin : begin + size], end
    pixels, place = bytearray(size), 0  # of its final size: what grows leaves its smaller selves in memory
    for begin, after in _spans(data, offset, check):
        pixels[place : place + after - begin] = view[begin:after]
        place += after - begin
    return pixels, end


def _spans(data: bytes, offset: int, check: Check) -> Iterator[tuple[int, int]]:
    """Yield where the contents of successive IDAT chunks begin and end, the last where the file is cut short."""
    for count in itertools.count(1):
        if offset + CHUNK_HEAD.size > len(data):
            return
        length, kind = CHUNK_HEAD.unpack_from(data, offset)
        if kind != b"IDAT":
            return
        begin = offset + CHUNK_HEAD.size
        offset = begin + length + CHECKSUM.size
        yield begin, min(begin + length, len(data))
        if count % MAX_CHUNKS == 0:
            check()
            if count * MIN_CHUNK_BYTES > len(data):
                raise ImageDamagedError("cannot be decoded: its pixels are in far too many chunks")


def _late_exif(data: bytes, offset: int) -> bytes | None:
    """Return the EXIF block that follows the pixels, if there is one."""
    for _ in range(MAX_CHUNKS):
        if offset + CHUNK_HEAD.size > len(data):
            return None
        length, kind = CHUNK_HEAD.unpack_from(data, offset)
        begin = offset + CHUNK_HEAD.size
        if kind == b"eXIf":
            return data[begin : begin + min(length, MAX_BLOCK_BYTES)]
        if kind == b"IEND" or not kind.isalpha():
            return None
        offset = begin + length + CHECKSUM.size
    return None


def _decoded(chunks: Chunks, compressed: Segment, check: Check, raw_mode: str | None = None) -> ImageFile:
    """Decode a file with the chunks that matter alone, as samples of another order where `raw_mode` says so."""
    ihdr = IHDR.pack(chunks.width, chunks.height, chunks.depth, chunks.colour, 0, 0, chunks.interlace)
    head = SIGNATURE + _chunk(b"IHDR", ihdr)
    if chunks.colour == PALETTE:
        head += _chunk(b"PLTE", chunks.palette or b"")
        head += _chunk(b"tRNS", chunks.transparent) if chunks.transparent else b""
    picture = open_picture("PNG", (head + CHUNK_HEAD.pack(len(compressed), b"IDAT"), compressed), check)
    check_size(picture, chunks.width, chunks.height)
    if raw_mode is not None:
        picture.tile = [picture.tile[0]._replace(args=raw_mode)]
    picture.load()
    return picture


def _chunk(kind: bytes, content: bytes) -> bytes:
    return CHUNK_HEAD.pack(len(content), kind) + content + CHECKSUM.pack(zlib.crc32(kind + content))


def _transparent_colour(content: bytes, chunks: Chunks) -> int | tuple[int, ...]:
    """Return the transparent colour in Pillow's samples, from the lowest bits of what is stored, as PNG demands."""
    highest = (1 << chunks.depth) - 1
    if chunks.colour == RGB:
        return tuple(each & highest for each in struct.unpack(">3H", content[:6]))
    stored = int.from_bytes(content[:2], "big")
    return (stored & highest) if chunks.depth == 16 else (stored & highest) * 255 // highest


def _opaque(high: Image.Image, low: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """Return 0 where all 16 bits of every sample are those of `colour`, else 255."""
    equal = Image.new("L", high.size, 255)
    for channel, sample in enumerate(colour):
        for part, value in ((high, sample >> 8), (low, sample & 255)):
            same = part.getchannel(channel).point([255 * (each == value) for each in range(256)])
            equal = ImageChops.darker(equal, same)
    return ImageChops.invert(equal)
