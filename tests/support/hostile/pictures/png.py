"""Change PNG files chunk by chunk, with checksums that fit: forged headers, palettes, profiles, texts and frames."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.support.hostile.pictures.exif import edge, forged, inflating

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTHS, COLOURS = (1, 2, 4, 8, 16, 0, 3, 255), (0, 2, 3, 4, 6, 1, 5, 7, 255)
KINDS = (
    b"tRNS",
    b"PLTE",
    b"iCCP",
    b"zTXt",
    b"iTXt",
    b"tEXt",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"gAMA",
    b"cHRM",
    b"sRGB",
)
OTHERS = (
    b"pHYs",
    b"sBIT",
    b"bKGD",
    b"hIST",
    b"sPLT",
    b"tIME",
    b"IDAT",
    b"IEND",
    b"IHDR",
    b"CgBI",
    b"xxxx",
    b"\0\0\0\0",
)
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """The content of IHDR."""
    return struct.pack(">IIBBBBB", width % 2**32, height % 2**32, depth, colour, 0, 0, interlace)


def split(data: bytes) -> list[Chunk]:
    """The chunks of a file, as far as they are whole."""
    chunks, offset = list[Chunk](), len(SIGNATURE)
    while offset + 12 <= len(data):
        end = offset + 8 + int.from_bytes(data[offset : offset + 4], "big")
        if end + 4 > len(data):
            break
        chunks.append((data[offset + 4 : offset + 8], data[offset + 8 : end]))
        offset = end + 4
    return chunks


def join(chunks: list[Chunk]) -> bytes:
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


def change_header(data: bytes, random: Random) -> bytes:
    """Another size, depth, colour type or interlace in the first header."""
    chunks = split(data)
    if not chunks or len(chunks[0][1]) != 13:
        return data
    fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    place = random.randrange(7)
    options = (None, None, DEPTHS, COLOURS, (0, 1), (0, 1), (0, 1, 2))[place]
    fields[place] = random.choice(options) if options else random.choice((edge(random, 32), 48, 2000))
    return join([(b"IHDR", struct.pack(">IIBBBBB", *fields)), *chunks[1:]])


def second_header(data: bytes, random: Random) -> bytes:
    """Two headers that differ: readers may believe either."""
    chunks, sizes = split(data), (1, 32, 48, 2000, 4096, 10**5)
    width, height = random.choices(sizes, k=2)
    other = header(width, height, random.choice(DEPTHS[:5]), random.choice(COLOURS[:5]))
    place = random.randrange(len(chunks) + 1)
    return join([*chunks[:place], (b"IHDR", other), *chunks[place:]])


def forged_chunk(data: bytes, random: Random) -> bytes:
    """One more chunk of any kind, whose content may be right, far too much, or noise."""
    chunks, kind = split(data), random.choice(KINDS if random.random() < 0.8 else OTHERS)
    packed = b"name\0\0" + inflating(random)
    content = {
        b"eXIf": forged(random),
        b"acTL": struct.pack(">II", edge(random, 32), edge(random, 32)),
        b"fcTL": struct.pack(">IIIIIHHBB", *(edge(random, 32) for _ in range(5)), 1, 1, 0, 0),
        b"fdAT": struct.pack(">I", edge(random, 32)) + inflating(random),
        b"iCCP": packed,
        b"zTXt": packed,
        b"iTXt": b"key\0\1\0en\0key\0" + inflating(random),
        b"gAMA": struct.pack(">I", edge(random, 32)),
    }.get(kind, b"")
    if not content or random.random() < 0.2:
        content = random.randbytes(random.choice((0, 1, 2, 6, 32, 256, 768, 769, 5000)))
    place = random.randrange(len(chunks) + 1)
    return join([*chunks[:place], *[(kind, content)] * random.choice((1, 1, 1, 2, 300)), *chunks[place:]])


def rearranged(data: bytes, random: Random) -> bytes:
    """Chunks removed, repeated, swapped, or renamed."""
    chunks = split(data)
    if not chunks:
        return data
    place, other = random.randrange(len(chunks)), random.randrange(len(chunks))
    way = random.randrange(4)
    if way == 0:
        del chunks[place]
    elif way == 1:
        chunks.insert(other, chunks[place])
    elif way == 2:
        chunks[place], chunks[other] = chunks[other], chunks[place]
    else:
        chunks[place] = (random.choice(KINDS + OTHERS), chunks[place][1])
    return join(chunks)


def other_pixels(data: bytes, random: Random) -> bytes:
    """Pixels that inflate to more or fewer than the header says, in one chunk, many or none."""
    chunks = split(data)
    rest = [each for each in chunks if each[0] != b"IDAT"]
    packed = random.choice((inflating(random), b"".join(content for kind, content in chunks if kind == b"IDAT")))
    pieces = random.choice((1, 2, 50))
    step = max(1, len(packed) // pieces)
    cut = [(b"IDAT", packed[start : start + step]) for start in range(0, len(packed), step)]
    place = max(1, len(rest) - 1)
    return join([*rest[:place], *cut, *rest[place:]])


def false_length(data: bytes, random: Random) -> bytes:
    """A chunk that says another length than it has."""
    chunks, changed = split(data), bytearray(data)
    if not chunks:
        return data
    place = random.randrange(len(chunks))
    offset = len(SIGNATURE) + sum(12 + len(content) for _, content in chunks[:place])
    changed[offset : offset + 4] = struct.pack(">I", edge(random, 32))
    return bytes(changed)


OPERATIONS = (change_header, second_header, forged_chunk, forged_chunk, rearranged, other_pixels, false_length)
