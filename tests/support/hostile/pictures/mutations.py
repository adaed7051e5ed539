"""Change pictures of six formats where their readers look: by the fields, chunks and tags that each format has."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random

from tests.support.hostile.pictures import bmp, gif, jpeg, png, tiff, webp

Operation = Callable[[bytes, Random], bytes]
OPERATIONS: dict[str, tuple[bytes, Sequence[Operation]]] = {
    "png": (b"\x89PNG", png.OPERATIONS),
    "jpeg": (b"\xff\xd8", jpeg.OPERATIONS),
    "webp": (b"RIFF", webp.OPERATIONS),
    "gif": (b"GIF8", gif.OPERATIONS),
    "bmp": (b"BM", bmp.OPERATIONS),
    "tiff": (b"II*\0", tiff.OPERATIONS),
}
# Larger ones are no longer made by mutation, so that repeated changes do not add up.
MOST_BYTES, MOST_CHANGES = 2**20, 3
EDGES = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def kind_of(data: bytes) -> str | None:
    """The format that a file begins as."""
    return next((kind for kind, (signature, _) in OPERATIONS.items() if data.startswith(signature)), None)


def mutate(data: bytes, random: Random) -> bytes:
    """One to three changes, most of them such that the rest of the file stays whole."""
    for _ in range(random.randint(1, MOST_CHANGES)):
        kind = kind_of(data)
        change = random.choice(OPERATIONS[kind][1]) if kind and random.random() < 0.75 else damage
        try:
            changed = change(data, random)
        except (IndexError, ValueError, struct.error):  # an earlier change left nothing to change like that
            changed = damage(data, random)
        data = changed if len(changed) <= MOST_BYTES else data
    return data


def damage(data: bytes, random: Random) -> bytes:
    """Change, cut, remove, repeat or insert some bytes; changes are the most frequent."""
    changed, place, length = bytearray(data), random.randrange(len(data) + 1), random.randint(1, 64)
    way = random.randrange(10)
    if way == 0:
        del changed[max(place, 1) :]
    elif way == 1:
        del changed[place : place + length]
    elif way == 2:
        changed[place:place] = changed[place : place + length]
    elif way == 3:
        changed[place:place] = random.randbytes(length)
    elif way == 4:
        changed[place : place + 4] = struct.pack(random.choice("<>") + "I", random.choice(EDGES))
    else:
        changed[place : place + 1] = random.randbytes(1)
    return bytes(changed)


def mutants(pictures: Sequence[tuple[str, bytes]], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Kinds and bytes of changed pictures, each picture in turn; the same for the same seed."""
    for number in range(count):
        kind, data = pictures[number % len(pictures)]
        # What is left of one that is cut is never nothing, which is no picture.
        yield kind, mutate(data, Random(f"{seed}/{number}")) or data
