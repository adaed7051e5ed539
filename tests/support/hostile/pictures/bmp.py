"""Change BMP files: every field of their headers, run lengths, bit fields and palettes."""

from __future__ import annotations

import struct
from random import Random

from tests.support.hostile.pictures.exif import edge

# Offsets and sizes: pixels, header size, width, height, planes, bits, compression, bytes, colours, important ones.
FIELDS = ((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4), (50, 4))
VALUES = {14: (12, 40, 52, 56, 64, 108, 124), 28: (1, 2, 4, 8, 16, 24, 32, 0), 30: (0, 1, 2, 3, 4, 5, 6, 11)}
PIXELS = 54


def change_field(data: bytes, random: Random) -> bytes:
    """Another value of one field."""
    offset, size = random.choice(FIELDS)
    value = random.choice(VALUES[offset]) if offset in VALUES and random.random() < 0.9 else edge(random, 8 * size)
    return data[:offset] + value.to_bytes(size, "little") + data[offset + size :]


def negative(data: bytes, random: Random) -> bytes:
    """Rows from the top down, or fewer than none."""
    return data[:22] + struct.pack("<i", -random.choice((0, 1, 48, 2000, 2**31 - 1, 2**31))) + data[26:]


def run_lengths(data: bytes, random: Random) -> bytes:
    """Runs, jumps and ends of RLE8 and RLE4 in a picture of any size."""
    runs = b"".join(
        random.choice((b"\xff\1", b"\0\0", b"\0\1", b"\0\2\xff\xff", b"\0\2\1\1", b"\0\4abcd", random.randbytes(2)))
        for _ in range(random.choice((1, 20, 2000)))
    )
    bits, compression = random.choice(((8, 1), (4, 2), (8, 2), (1, 1)))
    sides = random.choices((1, 48, 2000, 5000, edge(random, 31)), k=2)
    info = struct.pack("<IIIHHIIIIII", 40, *sides, 1, bits, compression, len(runs), 0, 0, random.choice((0, 2, 256)), 0)
    palette = random.randbytes(4 * random.choice((0, 2, 256)))
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(info) + len(palette)) + info + palette + runs


def bit_fields(data: bytes, random: Random) -> bytes:
    """Masks of colours that overlap, are empty or have holes."""
    masks = b"".join(struct.pack("<I", edge(random, 32)) for _ in range(random.choice((3, 4))))
    changed = data[:28] + struct.pack("<HI", random.choice((16, 32)), 3) + data[34:]
    return changed[:PIXELS] + masks + changed[PIXELS:]


OPERATIONS = (change_field, change_field, negative, run_lengths, bit_fields)
