"""Decode plain PNG files fast: eight bits, no metadata, exactly the size that the model takes.

Pillow's pixel decoder is called directly, without the work around it for pictures of any kind, which takes longer.
Any other file, and any that may be damaged, is left to `service.pipeline.preprocessing`, which decodes these to the
same pixels.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.manifest import InputShape

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A chunk: length and type, content, and the CRC-32 of type and content.
CHUNK_HEAD, CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
# Content of IHDR: width, height, bit depth, colour type, compression, filter, interlace.
IHDR = struct.Struct(">IIBBBBB")
# Pillow's mode and PNG's colour type, by the model's channels.
MODES = {1: ("L", 0), 3: ("RGB", 2)}


def decode_plain(data: bytes, shape: InputShape) -> npt.NDArray[np.uint8] | None:
    """Return the pixels uint8 [H, W, C] of a plain, undamaged PNG of this shape; None for any other file."""
    mode, colour_type = MODES[shape.channels]
    compressed = _compressed_pixels(data, IHDR.pack(shape.width, shape.height, 8, colour_type, 0, 0, 0))
    if compressed is None:
        return None
    try:
        picture = Image.frombytes(mode, (shape.width, shape.height), compressed, "zip", mode, 0)
    except (ValueError, OSError):
        return None
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(shape.height, shape.width, shape.channels)


def _compressed_pixels(data: bytes, header: bytes) -> bytes | None:
    """Return the content of all IDAT chunks; None where IHDR differs, a checksum is wrong, or other chunks exist."""
    if not data.startswith(SIGNATURE):
        return None
    offset, chunks = len(SIGNATURE), list[tuple[bytes, bytes]]()
    while offset + CHUNK_HEAD.size <= len(data):
        length, kind = CHUNK_HEAD.unpack_from(data, offset)
        begin = offset + CHUNK_HEAD.size
        end = begin + length
        offset = end + CHECKSUM.size
        if offset > len(data) or CHECKSUM.unpack_from(data, end) != (zlib.crc32(data[begin - len(kind) : end]),):
            return None
        chunks.append((kind, data[begin:end]))
    kinds = [kind for kind, _ in chunks]
    if offset != len(data) or len(kinds) < 3 or kinds != [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"]:
        return None
    return b"".join(content for _, content in chunks[1:-1]) if chunks[0][1] == header else None
