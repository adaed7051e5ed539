"""Read JPEG (ITU-T T.81) as libjpeg does: tables, frame and scans, and the two markers that say what colours mean.

A sequential picture in one scan is decoded at a fraction of its size where that suffices, and in bands; of any other a
decoder keeps all coefficients, however small it is wanted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageChops

from model_store.images.errors import ImageDamagedError, ImageTooLargeError, ImageTypeError
from model_store.images.exif import PREFIX, UPRIGHT, read_orientation
from model_store.images.header import Check, Header, Loaded, Segment, check_size, open_picture
from model_store.images.pixels import COPIES_BYTES, GREY_COPIES_BYTES

START, END = b"\xff\xd8", b"\xff\xd9"
# The last byte of fill, and then a marker; what is before them is skipped. A run of fill is passed once: `\xff+` would
# begin at each of its bytes anew, and hold the interpreter for the square of its length.
MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
# Without those that have no length, of which compressed pixels may have any number.
SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
# DHT, DAC, DQT, DRI: what libjpeg keeps.
TABLES = (0xC4, 0xCC, 0xDB, 0xDD)
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)
# Lossless and hierarchical frames.
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
APP0, APP1, APP14, COMMENT, LINES = 0xE0, 0xE1, 0xEE, 0xFE, 0xDC
# What libjpeg reads of the two markers that say what colours mean.
COLOUR_MARKERS = {APP0: (b"JFIF\0", 14), APP14: (b"Adobe", 12)}
# Segments before the first scan: the longest metadata of panoramas are some 300.
MAX_SEGMENTS = 1_024
MAX_TABLES_BYTES = MAX_JUNK_BYTES = 65_536
# Each scan may be a pass over all pixels, in some 30 bytes. Encoders write about ten; one for each bit of each
# coefficient of three components would be some 1,500, which nobody writes.
MAX_SCANS = 100
# Rows of a band at most, with those before and after it, of a byte a sample and twice for conversions.
BAND_ROWS = 64
COEFFICIENT_BYTES = 2
# What may follow, more than a decoder looks ahead; it reads zeros where there is no more, so these begin with ones.
FILLERS = (b"\xaa" * 4_096, b"\xd2" * 4_096, b"\x92" * 4_096)
BLOCK = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """Frame header: size, and horizontal and vertical sampling factors of each component by its identifier."""

    width: int
    height: int
    is_sequential: bool
    components: dict[int, tuple[int, int]]

    def coefficients_bytes(self) -> int:
        """Return the memory of all coefficients, in whole blocks of whole units."""
        highest: list[int] = [max(factors) for factors in zip(*self.components.values(), strict=True)]
        units = [-(-size // (BLOCK * top)) for size, top in zip((self.width, self.height), highest, strict=True)]
        in_unit = sum(across * down for across, down in self.components.values())
        return units[0] * units[1] * in_unit * BLOCK * BLOCK * COEFFICIENT_BYTES


@dataclass(frozen=True, slots=True)
class Scans:
    """Head and scans to decode: a head that was written anew, and the bytes from the first scan's pixels on."""

    head: bytes
    begin: int
    frame: Frame
    in_one_scan: bool
    orientation: int


def read_header(data: bytes, side: int) -> Header:
    """Read all before the first scan; raise ImageDamagedError, or ImageTypeError for a kind that is not read."""
    scans = _read_segments(data)
    frame = scans.frame
    scale = next((each for each in (8, 4, 2) if min(frame.width // side, frame.height // side) >= each), 1)
    width, height = -(-frame.width // scale), -(-frame.height // scale)
    is_grey = len(frame.components) == 1
    copies = (GREY_COPIES_BYTES if is_grey else COPIES_BYTES) * width * height
    if not (has_end := data.rfind(END, max(scans.begin, len(data) - MAX_JUNK_BYTES)) >= 0):
        copies *= 2  # two are compared
    band = BAND_ROWS * len(frame.components) * -(-frame.width // scale + BLOCK)
    kept = 0 if scans.in_one_scan else frame.coefficients_bytes()
    memory = copies + band + kept + kept // 16
    load = partial(_load, data, scans, has_end, side, (width, height))
    if scans.in_one_scan:
        full_size = frame.width, frame.height
        return Header("JPEG", width, height, width * height, memory, is_grey, load, full_size=full_size)
    count = _count_scans(data, scans.begin)
    return Header("JPEG", frame.width, frame.height, frame.width * frame.height, memory, is_grey, load, count)


def _read_segments(data: bytes) -> Scans:
    head, offset, junk = bytearray(START), len(START), MAX_JUNK_BYTES
    frame: Frame | None = None
    orientation: int | None = None
    for _ in range(MAX_SEGMENTS):
        marker, begin = _next_marker(data, offset, offset + junk)
        junk -= begin - offset - 2
        offset = begin
        if marker in WITHOUT_LENGTH:
            continue
        content = _segment(data, begin)
        offset += 2 + len(content)
        if marker == START_OF_SCAN:
            return _scans(head, content, offset, frame, orientation)
        if marker in (*SEQUENTIAL, *PROGRESSIVE):
            if frame is not None:
                raise ImageDamagedError
            frame = _read_frame(marker, content)
        elif marker in OTHER_FRAMES:
            raise ImageTypeError("is a JPEG of a kind that is not read, lossless or hierarchical")
        elif marker == APP1 and orientation is None and content.startswith(PREFIX):
            orientation = read_orientation(content)
        if marker in (*TABLES, *SEQUENTIAL, *PROGRESSIVE):
            head += _written(marker, content)
        elif marker in COLOUR_MARKERS:
            beginning, length = COLOUR_MARKERS[marker]
            if content.startswith(beginning) and len(content) >= length:
                head += _written(marker, content[:length])
        elif not (0xE0 <= marker <= 0xEF or marker in (COMMENT, LINES)):
            raise ImageDamagedError
        if len(head) > MAX_TABLES_BYTES:
            break
    raise ImageDamagedError


def _count_scans(data: bytes, offset: int) -> int:
    """Return the number of scans, of which the first has its pixels at an offset; raise ImageTooLargeError for many."""
    count = 1
    for _ in range(MAX_SEGMENTS):
        found = SEGMENT.search(data, offset)
        if found is None or found[1] == END[1:]:
            return count
        offset = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        count += found[1][0] == START_OF_SCAN
        if count > MAX_SCANS:
            break
    raise ImageTooLargeError(f"has far too many scans or segments: at most {MAX_SCANS} scans are allowed")


def _next_marker(data: bytes, offset: int, limit: int) -> tuple[int, int]:
    """Return the next marker and the offset after it."""
    found = MARKER.search(data, offset, limit)
    if found is None or found[1] in (START[1:], END[1:]):
        raise ImageDamagedError
    return found[1][0], found.end()


def _segment(data: bytes, begin: int) -> bytes:
    """Return the content of the segment whose length is at an offset."""
    length = int.from_bytes(data[begin : begin + 2], "big")
    if length < 2 or begin + length > len(data):
        raise ImageDamagedError
    return data[begin + 2 : begin + length]


def _written(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def _read_frame(marker: int, content: bytes) -> Frame:
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise ImageDamagedError
    if content[0] != 8 or content[5] not in (1, 3, 4):
        raise ImageTypeError("is a JPEG of a kind that is not read: expected 8 bits a sample, and 1, 3 or 4 components")
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    components = {content[at]: divmod(content[at + 1], 16) for at in range(6, len(content), 3)}
    factors = [each for pair in components.values() for each in pair]
    if not width or not height or len(components) != content[5] or not all(1 <= each <= 4 for each in factors):
        raise ImageDamagedError
    return Frame(width, height, marker in SEQUENTIAL, components)


def _scans(head: bytearray, content: bytes, begin: int, frame: Frame | None, orientation: int | None) -> Scans:
    if frame is None or not content:
        raise ImageDamagedError
    in_one_scan = frame.is_sequential and content[0] == len(frame.components)
    return Scans(bytes(head) + _written(START_OF_SCAN, content), begin, frame, in_one_scan, orientation or UPRIGHT)


def _load(data: bytes, scans: Scans, has_end: bool, side: int, size: tuple[int, int], check: Check) -> Loaded:
    rest = memoryview(data)[scans.begin :]

    def decoded(*more: Segment) -> Image.Image:
        picture = open_picture("JPEG", (scans.head, rest, *more), check)
        check_size(picture, scans.frame.width, scans.frame.height)
        picture.draft(None, (side, side))
        check_size(picture, *size)
        picture.load()
        return picture

    try:
        return decoded(), scans.orientation
    except OSError:
        if has_end or not _has_all_scans(data, scans, check):
            raise
    # Without the end's marker a decoder waits for more. If all pixels are there, they do not depend on what follows.
    picture = decoded(END)
    for filler in FILLERS:
        if ImageChops.difference(picture, decoded(filler, END)).getbbox() is not None:
            raise ImageDamagedError
    return picture, scans.orientation


def _has_all_scans(data: bytes, scans: Scans, check: Check) -> bool:
    """Return whether the scans, of which the last may be cut short, have every bit of every coefficient."""
    missing = {(component, place) for component in scans.frame.components for place in range(BLOCK * BLOCK)}
    if scans.in_one_scan:
        return True
    offset = scans.begin
    content = scans.head[scans.head.rindex(bytes((0xFF, START_OF_SCAN))) + 4 :]
    while True:
        count = content[0]
        first, last, bits = content[1 + 2 * count : 4 + 2 * count]
        if not bits & 15:
            named = content[1 : 1 + 2 * count : 2]
            missing -= {(component, place) for component in named for place in range(first, last + 1)}
        marker = None
        while marker != START_OF_SCAN:
            check()
            found = MARKER.search(data, offset)
            if found is None:
                return not missing
            marker, offset = found[1][0], found.end()
            if marker in WITHOUT_LENGTH:
                continue
            content = _segment(data, offset)
            offset += 2 + len(content)
