"""PNG files as programs write them: whole, in eight bits, of the very size that a model takes.

Pillow's decoder for their pixels is called without what it does around it for pictures of any kind, which takes longer.
Any other file, and any that might be damaged, is left to `service.pipeline.preprocessing`, which has the same
pixels of these.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.manifest import InputShape

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A chunk's length and kind, and the checksum of kind and content behind it.
BEGIN, CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
HEADER = struct.Struct(">IIBBBBB")
# Pillow's modes and PNG's types, by the model's channels.
MODES = {1: ("L", 0), 3: ("RGB", 2)}


def plain(data: bytes, shape: InputShape) -> npt.NDArray[np.uint8] | None:
    """Pixels uint8 [H, W, C] of a whole PNG of this shape in eight bits, with nothing else in it; None for others."""
    mode, kind = MODES[shape.channels]
    pixels = _pixels(data, HEADER.pack(shape.width, shape.height, 8, kind, 0, 0, 0))
    if pixels is None:
        return None
    try:
        picture = Image.frombytes(mode, (shape.width, shape.height), pixels, "zip", mode, 0)
    except (ValueError, OSError):
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _pixels(data: bytes, header: bytes) -> bytes | None:
    """What is compressed in a PNG with this header; None where it has more, or less, or a wrong checksum."""
    if not data.startswith(SIGNATURE):
        return None
    place, chunks = len(SIGNATURE), list[tuple[bytes, bytes]]()
    while place + BEGIN.size <= len(data):
        length, kind = BEGIN.unpack_from(data, place)
        begin, end = place + BEGIN.size, place + BEGIN.size + length
        place = end + CHECKSUM.size
        if place > len(data) or CHECKSUM.unpack_from(data, end) != (zlib.crc32(data[begin - len(kind) : end]),):
            return None
        chunks.append((kind, data[begin:end]))
    kinds = [kind for kind, _ in chunks]
    if place != len(data) or len(kinds) < 3 or kinds != [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"]:
        return None
    return b"".join(content for _, content in chunks[1:-1]) if chunks[0][1] == header else None
