"""Read WebP (RFC 9649): a still picture, or the first frame of an animation on its canvas."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

from model_store.images.errors import ImageDamagedError
from model_store.images.exif import MAX_BLOCK_BYTES, UPRIGHT, read_orientation
from model_store.images.header import Check, Header, Loaded, check_size, open_picture
from model_store.images.readers.vp8l import read_codes

RIFF, CHUNK_HEAD = struct.Struct("<4sI4s"), struct.Struct("<4sI")
SIGNATURE_LOSSY, SIGNATURE_LOSSLESS = b"\x9d\x01\x2a", 0x2F
ANIMATION, EXIF, ALPHA = 0x02, 0x08, 0x10
# Of a canvas or a frame: flags or position, and sizes less one.
VP8X_BYTES, FRAME_HEAD_BYTES = 10, 16
# Of what precedes prefix codes: signature and size of a picture, method of an alpha channel.
LOSSLESS_HEAD_BYTES, ALPHA_HEAD_BYTES = 5, 1
ALPHA_COMPRESSION, ALPHA_LOSSLESS = 0x03, 1
MAX_CHUNKS = 1_024
# Bytes a pixel: two canvases of the decoder, its picture as bytes, Pillow's, and a margin; then what a lossless frame
# or an alpha channel takes while it is decoded.
CANVAS_BYTES, LOSSLESS_BYTES = 17, 5
# Copies of the file: written anew, read by Pillow, and kept by its decoder.
FILE_COPIES = 4

Chunk = tuple[bytes, int, int]


def read_header(data: bytes, side: int) -> Header:
    """Read the chunks up to the first frame's pixels, and EXIF; raise ImageDamagedError."""
    if len(data) < RIFF.size:
        raise ImageDamagedError
    end = min(len(data), 8 + RIFF.unpack_from(data)[1])
    chunks = list(_chunks(data, RIFF.size, end))
    if not chunks:
        raise ImageDamagedError
    kind, begin, length = chunks[0]
    orientation = UPRIGHT
    if kind != b"VP8X":
        width, height = _bitstream_size(data, chunks[0])
        parts, frame = [chunks[0]], (width, height)
        head = b""
    else:
        if length < VP8X_BYTES:
            raise ImageDamagedError
        flags, width, height = data[begin], _size(data, begin + 4), _size(data, begin + 7)
        if flags & EXIF:
            orientation = _orientation(data, chunks)
        head = _chunk(b"VP8X", bytes((ALPHA | flags & ANIMATION, 0, 0, 0)) + data[begin + 4 : begin + VP8X_BYTES])
        if flags & ANIMATION:
            head, parts, frame = _first_frame(data, chunks, head, (width, height))
        else:
            parts = _still(chunks)
            frame = _bitstream_size(data, parts[-1])
            if frame != (width, height):
                raise ImageDamagedError
    codes = sum(_codes_bytes(data, part, frame) for part in parts)
    pixels = width * height
    memory = CANVAS_BYTES * pixels + codes + LOSSLESS_BYTES * frame[0] * frame[1] + FILE_COPIES * len(data)
    load = partial(_load, data, head, parts, orientation, (width, height))
    return Header("WEBP", width, height, pixels, memory, False, load)


def _chunks(data: bytes, offset: int, end: int) -> Iterator[Chunk]:
    """Yield type, begin and length of chunks that are there in full."""
    for _ in range(MAX_CHUNKS):
        if offset + CHUNK_HEAD.size > end:
            return
        kind, length = CHUNK_HEAD.unpack_from(data, offset)
        begin = offset + CHUNK_HEAD.size
        if begin + length > end:
            return
        yield kind, begin, length
        offset = begin + length + length % 2


def _still(chunks: list[Chunk]) -> list[Chunk]:
    """Return the pixels, after their alpha channel where there is one."""
    place = next((at for at, (kind, _, _) in enumerate(chunks) if kind in (b"VP8 ", b"VP8L")), None)
    if place is None:
        raise ImageDamagedError
    alpha = [each for each in chunks[:place] if each[0] == b"ALPH"]
    return [*alpha[:1], chunks[place]] if chunks[place][0] == b"VP8 " else [chunks[place]]


def _first_frame(
    data: bytes, chunks: list[Chunk], head: bytes, canvas: tuple[int, int]
) -> tuple[bytes, list[Chunk], tuple[int, int]]:
    """Return the head up to the first frame's chunks, these, and the frame's size."""
    found = next((each for each in chunks if each[0] == b"ANMF"), None)
    if found is None or found[2] < FRAME_HEAD_BYTES:
        raise ImageDamagedError
    _, begin, length = found
    frame = _size(data, begin + 6), _size(data, begin + 9)
    left, top = (2 * int.from_bytes(data[at : at + 3], "little") for at in (begin, begin + 3))
    parts = _still(list(_chunks(data, begin + FRAME_HEAD_BYTES, begin + length)))
    if left + frame[0] > canvas[0] or top + frame[1] > canvas[1] or _bitstream_size(data, parts[-1]) != frame:
        raise ImageDamagedError
    size = FRAME_HEAD_BYTES + sum(CHUNK_HEAD.size + each + each % 2 for _, _, each in parts)
    head += _chunk(b"ANIM", bytes(6)) + CHUNK_HEAD.pack(b"ANMF", size) + data[begin : begin + FRAME_HEAD_BYTES]
    return head, parts, frame


def _bitstream_size(data: bytes, chunk: Chunk) -> tuple[int, int]:
    """Return the size that the pixels themselves tell."""
    kind, begin, length = chunk
    if kind == b"VP8 " and length >= 10 and data[begin + 3 : begin + 6] == SIGNATURE_LOSSY:
        width, height = struct.unpack_from("<HH", data, begin + 6)
        size = width & 0x3FFF, height & 0x3FFF
    elif kind == b"VP8L" and length >= LOSSLESS_HEAD_BYTES and data[begin] == SIGNATURE_LOSSLESS:
        bits = int.from_bytes(data[begin + 1 : begin + 5], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise ImageDamagedError
    if not all(size):
        raise ImageDamagedError
    return size


def _size(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little") + 1


def _orientation(data: bytes, chunks: list[Chunk]) -> int:
    blocks = (data[begin : begin + min(length, MAX_BLOCK_BYTES)] for kind, begin, length in chunks if kind == b"EXIF")
    return read_orientation(next(blocks, b""))


def _codes_bytes(data: bytes, chunk: Chunk, size: tuple[int, int]) -> int:
    """Return a bound on the memory of the prefix codes of a lossless picture or alpha channel."""
    kind, begin, length = chunk
    if kind == b"VP8L":
        head = LOSSLESS_HEAD_BYTES
    elif kind == b"ALPH" and length and data[begin] & ALPHA_COMPRESSION == ALPHA_LOSSLESS:
        head = ALPHA_HEAD_BYTES
    else:
        return 0
    return read_codes(data, begin + head, begin + length, *size).decoding_bytes


def _chunk(kind: bytes, content: bytes) -> bytes:
    return CHUNK_HEAD.pack(kind, len(content)) + content + bytes(len(content) % 2)


def _load(
    data: bytes, head: bytes, parts: list[Chunk], orientation: int, size: tuple[int, int], check: Check
) -> Loaded:
    body = head + b"".join(_chunk(kind, data[begin : begin + length]) for kind, begin, length in parts)
    picture = open_picture("WEBP", (RIFF.pack(b"RIFF", 4 + len(body), b"WEBP") + body,), check)
    check_size(picture, *size)
    picture.load()
    return picture, orientation
