"""Change TIFF files tag by tag: sizes, samples, compressions, strips, tiles, and directories in circles."""

from __future__ import annotations

import struct
from random import Random

from tests.support.hostile.pictures.exif import ORIENTATION, SIZES, Entry, directory, edge

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS, COUNTS = (
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
)
TAGS = (WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS, COUNTS)
OTHERS = (266, ORIENTATION, 282, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 530, 532, 700, 34665, 34675)
COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34925, 50000, 50001, 99)


def entries(data: bytes) -> list[Entry]:
    """The tags of the first directory of a file of Intel's order, as far as they are whole."""
    if data[:4] != b"II*\0" or len(data) < 8:
        return []
    (start,) = struct.unpack_from("<I", data, 4)
    if start + 2 > len(data):
        return []
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12)
    return [(*struct.unpack_from("<HHI", data, place), data[place + 8 : place + 12]) for place in places]


def rebuild(data: bytes, tags: list[Entry], following: int = 0) -> bytes:
    """The file with another directory at its end, which its head points to."""
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory(sorted(tags)[:500], following)


def change_tag(data: bytes, random: Random) -> bytes:
    """Another value, type or count of one tag."""
    tags = entries(data)
    if not tags:
        return data
    place = random.randrange(len(tags))
    tag, kind, count, value = tags[place]
    way = random.randrange(4)
    if way == 0:
        kind = random.choice(list(SIZES))
    elif way == 1:
        count = edge(random, 32)
    elif tag == COMPRESSION:
        value = struct.pack("<I", random.choice(COMPRESSIONS))
    else:
        value = struct.pack("<I", edge(random, 32))
    tags[place] = tag, kind, count, value
    return rebuild(data, tags)


def more_tags(data: bytes, random: Random) -> bytes:
    """Tags twice, tags of tiles and JPEG tables, or so many that they are a picture of their own."""
    tag = random.choice(OTHERS + TAGS)
    added = (tag, random.choice(list(SIZES)), edge(random, 32), struct.pack("<I", edge(random, 32)))
    return rebuild(data, [*entries(data), *[added] * random.choice((1, 1, 2, 400))])


def fewer_tags(data: bytes, random: Random) -> bytes:
    """A tag that is missing."""
    tags = entries(data)
    return rebuild(data, tags[:-1] if len(tags) < 2 else [each for each in tags if each != random.choice(tags)])


def circle(data: bytes, random: Random) -> bytes:
    """Directories that follow each other for ever, or lie outside."""
    return rebuild(data, entries(data), random.choice((8, len(data), edge(random, 32))))


OPERATIONS = (change_tag, change_tag, more_tags, fewer_tags, circle)
