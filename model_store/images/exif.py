"""Read the orientation from a block of EXIF: one SHORT in the first directory, or upright."""

from __future__ import annotations

import struct

ORIENTATION, SHORT = 0x0112, 3
UPRIGHT = 1
# A JPEG segment has no more; a directory comes first.
MAX_BLOCK_BYTES = 65_536
MAX_ENTRIES = 512
PREFIX = b"Exif\0\0"
ENTRY_BYTES = 12
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def read_orientation(block: bytes) -> int:
    """Return the orientation, 1 to 8, of a block in TIFF's structure; 1 (upright) if it is missing or damaged."""
    block = block.removeprefix(PREFIX)[:MAX_BLOCK_BYTES]
    order = BYTE_ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return UPRIGHT
    (offset,) = struct.unpack_from(f"{order}I", block, 4)
    if offset + 2 > len(block):
        return UPRIGHT
    (count,) = struct.unpack_from(f"{order}H", block, offset)
    entry = struct.Struct(f"{order}HHIH")
    begin = offset + 2
    last = min(begin + min(count, MAX_ENTRIES) * ENTRY_BYTES, len(block)) - entry.size
    for place in range(begin, last + 1, ENTRY_BYTES):
        tag, kind, number, value = entry.unpack_from(block, place)
        if tag == ORIENTATION:
            return value if kind == SHORT and number == 1 and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
