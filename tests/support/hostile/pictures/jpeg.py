"""Change JPEG files segment by segment: fill bytes, second frames, more scans, forged tables and metadata."""

from __future__ import annotations

import struct
from random import Random

from tests.support.hostile.pictures.exif import edge, forged

START, END = b"\xff\xd8", b"\xff\xd9"
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
SCAN, HUFFMAN, QUANTIZATION, RESTART_INTERVAL, LINES, COMMENT = 0xDA, 0xC4, 0xDB, 0xDD, 0xDC, 0xFE
# A marker, what its segment holds, and the entropy-coded data behind it.
Segment = tuple[int, bytes, bytes]


def segment(marker: int, content: bytes) -> bytes:
    """One segment; what is longer than a segment can be is cut."""
    content = content[: 0xFFFF - 2]
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def split(data: bytes) -> list[Segment]:
    """The segments of a file, as far as they are whole."""
    segments, offset = list[Segment](), 2
    while offset + 4 <= len(data) and data[offset] == 0xFF and data[offset + 1] != END[1]:
        end = offset + 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        stop = end
        while data[offset + 1] == SCAN and stop < len(data):
            if data[stop] == 0xFF and data[stop + 1 : stop + 2] not in (
                b"\0",
                *(bytes((n,)) for n in range(0xD0, 0xD8)),
            ):
                break
            stop += 1
        segments.append((data[offset + 1], data[offset + 4 : end], data[end:stop]))
        offset = stop
    return segments


def join(segments: list[Segment], end: bytes = END) -> bytes:
    return START + b"".join(segment(marker, content) + coded for marker, content, coded in segments) + end


def _placed(data: bytes, random: Random, *more: Segment) -> bytes:
    segments = split(data)
    place = random.randrange(len(segments) + 1)
    return join([*segments[:place], *more, *segments[place:]])


def fill_bytes(data: bytes, random: Random) -> bytes:
    """FF before a marker, which is allowed, and moves it for readers that do not know."""
    segments = [segment(marker, content) + coded for marker, content, coded in split(data)]
    place = random.randrange(len(segments) + 1)
    filled = [*segments[:place], b"\xff" * random.choice((1, 1, 2, 3, 1000)), *segments[place:]]
    return START + b"".join(filled) + END


def hidden_frame(data: bytes, random: Random) -> bytes:
    """A fill byte before the frame, and another frame where a reader that ignores the byte goes on."""
    segments = split(data)
    found = next((n for n, each in enumerate(segments) if each[0] in FRAMES), None)
    if found is None:
        return data
    marker, content, _ = segments[found]
    false = segment(random.choice((0xC0, 0xC1)), content) + segment(SCAN, bytes((content[5],)) + bytes(9))
    body = b"\xff" + segment(marker, content)
    # Such a reader takes the marker and the first byte of the length for the length.
    gap = 2 + (marker << 8) - len(body) - 4
    parts = [segment(m, c) + coded for m, c, coded in segments]
    parts[found] = body + segment(0xEF, bytes(max(0, gap)) + false)
    return START + b"".join(parts) + END


def second_frame(data: bytes, random: Random) -> bytes:
    """One more frame of another size or kind, anywhere."""
    sides = (1, 8, 48, 2000, 4096, 65_500, 65_535, 0)
    components = random.choice((1, 3, 4, 0, 255))
    content = struct.pack(">BHHB", random.choice((8, 8, 12, 16)), *random.choices(sides, k=2), components)
    content += b"".join(
        bytes((n & 255, random.choice((0x11, 0x22, 0x44, 0x14, 0)), 0)) for n in range(1, components + 1)
    )
    return _placed(data, random, (random.choice(FRAMES), content, b""))


def change_frame(data: bytes, random: Random) -> bytes:
    """Another size, precision, sampling or kind of the frame itself."""
    segments = split(data)
    for number, (marker, content, coded) in enumerate(segments):
        if marker in FRAMES and len(content) >= 6:
            changed = bytearray(content)
            way = random.randrange(4)
            if way == 0:
                struct.pack_into(">H", changed, random.choice((1, 3)), edge(random, 16))
            elif way == 1:
                changed[random.randrange(len(changed))] = random.choice((0, 1, 2, 4, 0x11, 0x41, 0x14, 0x44, 255))
            elif way == 2:
                marker = random.choice(FRAMES)
            else:
                changed[5] = random.randrange(6)
            segments[number] = marker, bytes(changed), coded
    return join(segments)


def more_scans(data: bytes, random: Random) -> bytes:
    """Scans again and again: each of a progressive picture may take a pass over all of it."""
    segments = split(data)
    scans = [each for each in segments if each[0] == SCAN]
    if not scans:
        return data
    chosen, count = random.choice(scans), random.choice((1, 2, 10, 200))
    coded = random.choice((chosen[2], b"", chosen[2][: len(chosen[2]) // 2]))
    return join([*segments, *[(SCAN, chosen[1], coded)] * count])


def forged_tables(data: bytes, random: Random) -> bytes:
    """Huffman and quantization tables that are wrong, and an interval of restarts."""
    kind = random.choice((HUFFMAN, QUANTIZATION, RESTART_INTERVAL, LINES))
    lengths = bytes(random.choice((0, 0, 1, 2, 16, 255)) for _ in range(16))
    content = {
        HUFFMAN: bytes((random.choice((0, 1, 0x10, 0x11, 0xFF)),)) + lengths + random.randbytes(min(sum(lengths), 300)),
        QUANTIZATION: bytes((random.choice((0, 1, 0x10, 0xFF)),)) + random.choice((bytes(64), random.randbytes(128))),
    }.get(kind, struct.pack(">H", edge(random, 16)))
    return _placed(data, random, (kind, content, b""))


def metadata(data: bytes, random: Random) -> bytes:
    """EXIF, colour profiles, Adobe's transform and comments, once or a thousand times."""
    marker, content = random.choice(
        (
            (0xE1, b"Exif\0\0" + forged(random)),
            (0xE2, b"ICC_PROFILE\0" + random.randbytes(2) + random.randbytes(200)),
            (0xE2, b"MPF\0" + forged(random)),
            (0xEE, b"Adobe\0\x64" + random.randbytes(4) + bytes((random.choice((0, 1, 2, 255)),))),
            (0xE0, b"JFIF\0" + random.randbytes(9)),
            (0xED, b"Photoshop 3.0\x008BIM" + random.randbytes(60)),
            (COMMENT, random.randbytes(random.choice((0, 10, 60_000)))),
        )
    )
    return _placed(data, random, *[(marker, content, b"")] * random.choice((1, 1, 1, 2, 1000)))


def cut(data: bytes, random: Random) -> bytes:
    """No end, an end too early, or restarts amid the coded data."""
    segments = split(data)
    way = random.randrange(3)
    if way == 0 or not segments:
        return join(segments, b"")
    marker, content, coded = segments[-1]
    place = random.randrange(len(coded) + 1)
    inside = b"" if way == 1 else bytes((0xFF, random.randrange(0xD0, 0xDA))) * random.choice((1, 8, 1000))
    return join([*segments[:-1], (marker, content, coded[:place] + inside + (b"" if way == 1 else coded[place:]))])


OPERATIONS = (
    *(fill_bytes, hidden_frame, second_frame, change_frame, more_scans, forged_tables, forged_tables, metadata, cut),
)
