"""Change GIF files: sizes of screen and frames, colour tables, code sizes, and blocks without end."""

from __future__ import annotations

import struct
from random import Random

from tests.support.hostile.pictures.exif import edge

SCREEN, FLAGS = 6, 10
FRAME, EXTENSION, END = b"\x2c", b"\x21", b"\x3b"


def screen(data: bytes, random: Random) -> bytes:
    """Another logical screen, or another global colour table."""
    changed = bytearray(data)
    if len(data) < 13 or random.random() < 0.3:
        changed[FLAGS : FLAGS + 1] = random.randbytes(1)
    else:
        struct.pack_into("<H", changed, random.choice((SCREEN, SCREEN + 2)), edge(random, 16))
    return bytes(changed)


def frame(data: bytes, random: Random) -> bytes:
    """Another place, size, table or code size of a frame."""
    changed, place = bytearray(data), data.find(FRAME, 13)
    if place < 0 or place + 11 > len(data):
        return data
    if random.random() < 0.7:
        struct.pack_into("<H", changed, place + random.choice((1, 3, 5, 7)), edge(random, 16))
    else:
        changed[place + random.choice((9, 10))] = random.choice((0, 1, 2, 8, 11, 12, 13, 0x40, 0x80, 0x87, 255))
    return bytes(changed)


def more_frames(data: bytes, random: Random) -> bytes:
    """Frames again, each of any size."""
    place = data.find(FRAME, 13)
    body = data[place:].removesuffix(END)
    return data[: max(place, 13)] + body * random.choice((1, 2, 100)) + frame(data, random)[max(place, 0) :]


def extensions(data: bytes, random: Random) -> bytes:
    """Comments, control blocks, loops and unknown extensions, of many blocks or cut."""
    kind = random.choice((0xFE, 0xF9, 0xFF, 0x01, 0x00))
    blocks = b"".join(
        bytes((len(b),)) + b for b in [random.randbytes(random.choice((1, 4, 11, 255)))] * random.choice((1, 50))
    )
    added = (EXTENSION + bytes((kind,)) + blocks + random.choice((b"\0", b""))) * random.choice((1, 1, 500))
    place = random.choice((13, max(13, data.find(FRAME, 13)), len(data) - 1))
    return data[:place] + added + data[place:]


OPERATIONS = (screen, frame, frame, more_frames, extensions)
