"""Change WebP files chunk by chunk: forged canvases, frames, alpha and sizes."""

from __future__ import annotations

import struct
from random import Random

from tests.support.hostile.pictures.exif import edge, forged

KINDS = (b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP", b"EXIF", b"XMP ", b"xxxx")
Chunk = tuple[bytes, bytes]


def split(data: bytes) -> list[Chunk]:
    """The chunks of a file, as far as they are whole."""
    chunks, offset = list[Chunk](), 12
    while offset + 8 <= len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        chunks.append((data[offset : offset + 4], data[offset + 8 : offset + 8 + size]))
        offset += 8 + size + size % 2
    return chunks


def join(chunks: list[Chunk], size: int | None = None) -> bytes:
    """A file of chunks that says its own size, or another."""
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for k, c in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def _canvas(random: Random) -> Chunk:
    sides = [edge(random, 24) for _ in range(2)]
    flags = random.choice((0, 2, 0x10, 0x12, 0x3E, 255))
    return b"VP8X", bytes((flags, 0, 0, 0)) + b"".join(side.to_bytes(3, "little") for side in sides)


def canvas(data: bytes, random: Random) -> bytes:
    """An extended header with another canvas than the picture's, first or later."""
    chunks = [each for each in split(data) if each[0] != b"VP8X" or random.random() < 0.5]
    place = random.choice((0, 0, 0, len(chunks)))
    return join([*chunks[:place], _canvas(random), *chunks[place:]])


def picture_size(data: bytes, random: Random) -> bytes:
    """Another size in the picture itself: 14 bits a side."""
    chunks = split(data)
    for number, (kind, content) in enumerate(chunks):
        changed, side = bytearray(content), random.choice((1, 32, 2000, 4096, 16_383, 16_384))
        if kind == b"VP8L" and len(content) >= 5:
            struct.pack_into(
                "<I", changed, 1, (side - 1) & 0x3FFF | edge(random, 14) << 14 | random.choice((0, 1 << 28))
            )
        elif kind == b"VP8 " and len(content) >= 10:
            struct.pack_into("<H", changed, random.choice((6, 8)), side & 0xFFFF)
        chunks[number] = kind, bytes(changed)
    return join(chunks)


def frames(data: bytes, random: Random) -> bytes:
    """An animation of the picture: frames of any size, place and number."""
    chunks = split(data)
    inner = b"".join(
        k + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for k, c in chunks if k in (b"VP8 ", b"VP8L")
    )
    numbers = [random.choice((0, 47, edge(random, 24))) for _ in range(5)]
    frame = b"".join(each.to_bytes(3, "little") for each in numbers) + bytes((random.randrange(4),)) + inner
    animated = [(b"ANIM", random.randbytes(6)), *[(b"ANMF", frame)] * random.choice((1, 2, 20))]
    return join([_canvas(random), *animated])


def forged_chunk(data: bytes, random: Random) -> bytes:
    """One more chunk of any kind."""
    chunks, kind = split(data), random.choice(KINDS)
    content = forged(random) if kind == b"EXIF" else random.randbytes(random.choice((0, 1, 10, 300)))
    place = random.randrange(len(chunks) + 1)
    return join([*chunks[:place], (kind, content), *chunks[place:]])


def rearranged(data: bytes, random: Random) -> bytes:
    """Chunks removed, repeated or renamed, or a file that says another size."""
    chunks = split(data)
    if not chunks or random.random() < 0.2:
        return join(chunks, edge(random, 32))
    place = random.randrange(len(chunks))
    return join(
        [
            *chunks[:place],
            *random.choice(([], [chunks[place]] * 2, [(random.choice(KINDS), chunks[place][1])])),
            *chunks[place + 1 :],
        ]
    )


OPERATIONS = (canvas, picture_size, frames, forged_chunk, rearranged)
