"""Write lossless WebP files (RFC 9649) of one colour with as many groups of prefix codes as wanted."""

from __future__ import annotations

import struct

MIN_BLOCK_BITS = 2
# A simple code of the one symbol 0, and of five of them a group.
ONE_SYMBOL = ((1, 1), (0, 1), (0, 1), (0, 1))
LENGTHS_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

Field = tuple[int, int]


def grouped_webp(width: int, height: int, groups: list[int], cache_bits: int = 0, code_bits: int = 0) -> bytes:
    """A black picture whose blocks of 4 x 4 pixels, in their order, use the groups that are named, and the last one.

    Each group has a code of 2**code_bits symbols for green.
    """
    fields: list[Field] = [(0, 1), *_cache(cache_bits), (1, 1), (0, 3), *_entropy_image(width, height, groups)]
    group = [*(_uniform(code_bits) if code_bits else ONE_SYMBOL), *ONE_SYMBOL * 4]
    fields += group * (max(groups) + 1)
    fields += [(0, code_bits)] * (width * height)
    return container(_bits([(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 4), *fields]))


def container(content: bytes) -> bytes:
    """A file with a lossless bitstream."""
    padding = bytes(len(content) % 2)
    body = b"WEBPVP8L" + struct.pack("<I", len(content)) + content + padding
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _cache(bits: int) -> list[Field]:
    return [(1, 1), (bits, 4)] if bits else [(0, 1)]


def _entropy_image(width: int, height: int, groups: list[int]) -> list[Field]:
    """Names of groups as literal pixels, of eight bits in green and in red."""
    blocks = -(-width >> MIN_BLOCK_BITS) * -(-height >> MIN_BLOCK_BITS)
    named = groups + groups[-1:] * (blocks - len(groups))
    fields = [*_cache(0), *_uniform(8), *_uniform(8), *ONE_SYMBOL * 3]
    return fields + [(_reversed(byte, 8), 8) for each in named for byte in (each & 255, each >> 8)]


def _uniform(bits: int) -> list[Field]:
    """A code of 2**bits symbols of equal lengths, which cost no bits: only one length is used."""
    place = LENGTHS_ORDER.index(bits) + 1
    fields = [(0, 1), (place - 4, 4), *[(0, 3)] * (place - 1), (1, 3)]
    return [*fields, (1, 1), (5, 3), ((1 << bits) - 2, 12)]


def _reversed(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def _bits(fields: list[Field]) -> bytes:
    """Numbers of so many bits each, least significant first."""
    found, value, bits = bytearray(), 0, 0
    for number, size in fields:
        value, bits = value | number << bits, bits + size
        if bits >= 64:
            whole = bits // 8
            found += (value & (1 << 8 * whole) - 1).to_bytes(whole, "little")
            value, bits = value >> 8 * whole, bits % 8
    return bytes(found) + value.to_bytes(-(-bits // 8) + 1, "little")
