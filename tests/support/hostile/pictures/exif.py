"""Forge metadata: EXIF whose tags have wrong types and counts, and streams that inflate a thousandfold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from random import Random

ORIENTATION, SOFTWARE, EXIF_POINTER = 0x0112, 0x0131, 0x8769
# TIFF's types with their sizes: BYTE, ASCII, SHORT, LONG, RATIONAL and so on, and one that nobody defines.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 99: 1}
# Where sizes, counts and offsets are kept: the edges of their types, and of what is allowed.
EDGES = (0, 1, 2, 3, 7, 255, 256, 4095, 4096, 4097, 32_767, 65_535, 65_536, 10**6, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
Entry = tuple[int, int, int, bytes]


def edge(random: Random, bits: int) -> int:
    """A number of so many bits, most often one at an edge."""
    number = random.choice(EDGES) if random.random() < 0.8 else random.getrandbits(bits)
    return number & ((1 << bits) - 1)


def directory(entries: Sequence[Entry], following: int = 0, order: str = "<", start: int = 8) -> bytes:
    """One directory of tags, each a tag, a type, a count and the value or an offset, where it begins at `start`."""
    packed = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count) + value[:4].ljust(4, b"\0") for tag, kind, count, value in entries
    )
    return struct.pack(f"{order}H", len(entries)) + packed + struct.pack(f"{order}I", following)


def exif(*entries: Entry, values: bytes = b"", following: int = 0) -> bytes:
    """EXIF of one directory, with `values` behind it: the first lies at 8 + 2 + 12 a tag + 4."""
    return b"II*\0" + struct.pack("<I", 8) + directory(entries, following) + values


def orientation(count: int = 1, kind: int = 3, value: int = 6) -> bytes:
    """EXIF with an orientation of so many values of a type, all there."""
    size = SIZES[kind] * count
    if size <= 4:
        return exif((ORIENTATION, kind, count, value.to_bytes(4, "little")))
    return exif(
        (ORIENTATION, kind, count, struct.pack("<I", 26)), values=(b"\1\0\0\0\1\0\0\0" * (size // 8 + 1))[:size]
    )


def forged(random: Random) -> bytes:
    """EXIF with tags that may be of any type, count and offset, and directories that may go round in circles."""
    entries = [
        (
            random.choice(
                (ORIENTATION, SOFTWARE, EXIF_POINTER, 0x010F, 0x011A, 0x8825, 0xA005, random.getrandbits(16))
            ),
            random.choice(list(SIZES)),
            edge(random, 32),
            random.choice((struct.pack("<I", edge(random, 32)), b"\6\0\0\0", b"\x08\0\0\0", random.randbytes(4))),
        )
        for _ in range(random.choice((0, 1, 2, 3, 50)))
    ]
    following = random.choice((0, 0, 8, edge(random, 32)))
    whole = exif(*entries, values=random.randbytes(random.choice((0, 8, 300))), following=following)
    return random.choice(
        (whole, b"Exif\0\0" + whole, orientation(random.choice((1, 2, 9, 5000)), random.choice(list(SIZES))))
    )


def inflating(random: Random) -> bytes:
    """A zlib stream of a few bytes that becomes up to some megabytes, at times damaged or cut."""
    stream = zlib.compress(bytes(random.choice((0, 1, 1000, 10**5, 3 * 10**6))), 9)
    return random.choice(
        (stream, stream, stream[:-1], stream[: len(stream) // 2], stream + stream, random.randbytes(50))
    )
