"""Read GIF (version 89a): the screen, the palettes and the first frame."""

from __future__ import annotations

import struct
from functools import partial

from model_store.images.errors import ImageDamagedError
from model_store.images.exif import UPRIGHT
from model_store.images.header import Check, Header, Loaded, check_size, open_picture
from model_store.images.pixels import COPIES_BYTES

SCREEN, FRAME = struct.Struct("<6sHHBBB"), struct.Struct("<HHHHB")
EXTENSION, SEPARATOR, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9
HAS_PALETTE = 0x80
# Blocks before the first frame, of at most 255 bytes each.
MAX_BLOCKS = 8_192
# Pillow's picture of indices, beside two copies of it.
INDEX_BYTES = 1


def read_header(data: bytes, side: int) -> Header:
    """Read all before the first frame's pixels; raise ImageDamagedError."""
    if len(data) < SCREEN.size:
        raise ImageDamagedError
    _, width, height, flags, _, _ = SCREEN.unpack_from(data)
    screen_end = SCREEN.size + _palette_bytes(flags)
    transparent, offset = _find_frame(data, screen_end)
    if offset + FRAME.size > len(data):
        raise ImageDamagedError
    left, top, across, down, frame_flags = FRAME.unpack_from(data, offset)
    width, height = max(width, left + across), max(height, top + down)
    if not width or not height:
        raise ImageDamagedError
    pixels_begin = offset + FRAME.size + _palette_bytes(frame_flags)
    head = data[:screen_end]
    if transparent is not None:  # as the one thing that a frame's control says which the first frame needs
        head += bytes((EXTENSION, GRAPHIC_CONTROL, 4, 1, 0, 0, transparent, 0))
    head += bytes((SEPARATOR,)) + data[offset:pixels_begin]
    palettes = data[SCREEN.size : screen_end], data[offset + FRAME.size : pixels_begin]
    is_grey = _is_ramp(palettes[1] or palettes[0])
    pixels = width * height
    load = partial(_load, data, head, pixels_begin, (width, height))
    return Header("GIF", width, height, pixels, (COPIES_BYTES + INDEX_BYTES) * pixels, is_grey, load)


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & HAS_PALETTE else 0


def _is_ramp(palette: bytes) -> bool:
    """Return whether each index is its own grey, as without a palette."""
    return palette == bytes(index for index in range(len(palette) // 3) for _ in range(3))


def _find_frame(data: bytes, offset: int) -> tuple[int | None, int]:
    """Return the index of the transparent colour, if there is one, and where the first frame's descriptor begins."""
    transparent: int | None = None
    blocks = 0
    while offset < len(data) and blocks < MAX_BLOCKS:
        kind, offset, blocks = data[offset], offset + 1, blocks + 1
        if kind == SEPARATOR:
            return transparent, offset
        if kind == TRAILER:
            break
        if kind != EXTENSION:
            continue  # stray bytes, as Pillow takes them
        label, offset = data[offset : offset + 1], offset + 1
        first = data[offset + 1 : offset + 1 + data[offset]] if offset < len(data) else b""
        if label == bytes((GRAPHIC_CONTROL,)) and first:
            if len(first) < 4:
                raise ImageDamagedError
            transparent = first[3] if first[0] & 1 else transparent
        while offset < len(data) and data[offset] and blocks < MAX_BLOCKS:
            offset, blocks = offset + 1 + data[offset], blocks + 1
        offset += 1
    raise ImageDamagedError


def _load(data: bytes, head: bytes, begin: int, size: tuple[int, int], check: Check) -> Loaded:
    picture = open_picture("GIF", (head, memoryview(data)[begin:]), check)
    check_size(picture, *size)
    picture.load()
    return picture, UPRIGHT
