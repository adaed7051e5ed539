"""Read of a VP8L bitstream (RFC 9649, section 3) what decides how much memory its prefix codes take.

A picture may have up to 65,536 groups of five prefix codes. How many tells an image of few pixels, the entropy image,
which is read here symbol by symbol with those before it. Neither its copies nor its colour cache matter: they repeat
groups that a literal pixel has named, or name the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.images.errors import ImageDamagedError

PREDICTOR, COLOUR, SUBTRACT_GREEN = 0, 1, 2
LITERALS, LENGTHS, DISTANCES = 256, 24, 40
MAX_CODE_LENGTH, MAX_CACHE_BITS, MAX_GROUPS = 15, 11, 65_536
CODE_LENGTHS_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
INITIAL_CODE_LENGTH = 8
# Extra bits and least number of the three codes that repeat a length, after 15 that are one.
REPEAT_PREVIOUS, REPEATS = 16, ((2, 3), (3, 3), (7, 11))
# So many bits hold a pixel, or a copy with its distance, wherever in a byte they begin.
WINDOW_BYTES = 9
# Pixels and copies of all images before the picture's, at one in so many pixels: mostly a few per cent of the time that
# decoding takes, and at most 0.1 s. Photographs of 16 million pixels have up to 60,000.
MIN_SYMBOLS, MAX_SYMBOLS, SYMBOL_PIXELS = 2**15, 2**17, 128

# What libwebp allocates for a code: a table by its next 8 bits, and tables for what is longer, at most so many entries
# in all (as zlib's `enough` counts them): of red, blue, alpha and distances, and of green by the bits of the cache.
ENTRY_BYTES, SHORT_ENTRIES, LONG_ENTRIES = 4, 256, 3 * 630 + 410
GREEN_ENTRIES = (654, 656, 658, 662, 670, 686, 718, 782, 912, 1_168, 1_680, 2_704)
# Of a group beside its tables: pointers, packed symbols and its place among those that are used.
GROUP_BYTES, CODES = 576, 5
# A code of one symbol takes at least 4 bits of the file; one of more than 8 bits 45.
SHORT_CODE_BITS, LONG_CODE_BITS = 4, 45
# libwebp keeps those groups alone that the entropy image names if the highest is above.
MAX_UNUSED_GROUPS = 1_000

# Table by the next bits of a stream, of symbol << 4 | length, and the mask of these bits.
PrefixCode = tuple[Sequence[int], int]


def _reversed_bits() -> np.ndarray:
    found = np.zeros(1, np.uint16)
    for bit in reversed(range(MAX_CODE_LENGTH)):
        found = np.concatenate((found, found | 1 << bit))
    return found


REVERSED_BITS = _reversed_bits()


class _TooLongError(Exception):
    """More symbols than are read here."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Prefix codes of a picture: their groups, bits of the colour cache, and bits of the file from the first on."""

    groups: int
    cache_bits: int
    bits: int

    @property
    def decoding_bytes(self) -> int:
        """Bound on the memory that libwebp takes for them."""
        green = GREEN_ENTRIES[self.cache_bits]
        long = self.groups * (LONG_ENTRIES + green - CODES * SHORT_ENTRIES)
        long = min(long, self.bits // LONG_CODE_BITS * (green - SHORT_ENTRIES))
        return self.groups * GROUP_BYTES + ENTRY_BYTES * (self.groups * CODES * SHORT_ENTRIES + long)


def read_codes(data: bytes, begin: int, end: int, width: int, height: int) -> Codes:
    """Read the transforms and the entropy image of a picture whose bitstream, without its header, lies between.

    Where they are too long to be read the result is a bound. Raises ImageDamagedError.
    """
    reader = Reader(data, begin, end, min(MAX_SYMBOLS, MIN_SYMBOLS + width * height // SYMBOL_PIXELS))
    try:
        return reader.codes(width, height)
    except _TooLongError:
        bits = 8 * (end - begin)
        groups = max(MAX_UNUSED_GROUPS, _blocks(width, 2) * _blocks(height, 2))
        return Codes(min(MAX_GROUPS, groups, bits // (CODES * SHORT_CODE_BITS)), MAX_CACHE_BITS, bits)


class Reader:
    """Bits of `data` from byte `begin` to `end`, least significant first; at most `symbols` pixels and copies."""

    def __init__(self, data: bytes, begin: int, end: int, symbols: int) -> None:
        self._data, self._at, self._end = data, 8 * begin, 8 * end
        self._symbols = symbols

    def codes(self, width: int, height: int) -> Codes:
        """Read all before the codes of a picture of this size."""
        width = self._transforms(width, height)
        cache_bits = self._cache_bits()
        groups = 1
        if self._read(1):
            bits = 2 + self._read(3)
            named = self._image(_blocks(width, bits) * _blocks(height, bits))
            groups = named.rfind(1) + 1
            if not groups or groups * CODES * SHORT_CODE_BITS > self._end - self._at:
                raise ImageDamagedError
            groups = named.count(1) if groups > MAX_UNUSED_GROUPS else groups
        return Codes(groups, cache_bits, self._end - self._at)

    def _transforms(self, width: int, height: int) -> int:
        """Read past the transforms; return the width of what they are applied to."""
        seen = set[int]()
        while self._read(1):
            kind = self._read(2)
            if kind in seen:
                raise ImageDamagedError
            seen.add(kind)
            if kind in (PREDICTOR, COLOUR):
                bits = 2 + self._read(3)
                self._image(_blocks(width, bits) * _blocks(height, bits))
            elif kind != SUBTRACT_GREEN:
                colours = 1 + self._read(8)
                self._image(colours)
                width = _blocks(width, sum(colours <= most for most in (2, 4, 16)))
        return width

    def _cache_bits(self) -> int:
        if not self._read(1):
            return 0
        bits = self._read(4)
        if not 1 <= bits <= MAX_CACHE_BITS:
            raise ImageDamagedError
        return bits

    def _image(self, pixels: int) -> bytearray:
        """Read past an image of one group of codes; return 1 for groups that its pixels name in red and green."""
        cache_bits = self._cache_bits()
        colours = 1 << cache_bits if cache_bits else 0
        alphabets = (LITERALS + LENGTHS + colours, LITERALS, LITERALS, LITERALS, DISTANCES)
        green, red, blue, alpha, distance = (self.prefix_code(each) for each in alphabets)
        if not any(mask for _, mask in (green, red, blue, alpha)) and green[0][0] >> 4 < LITERALS:
            pixels = 1  # the others are alike, and take no bits
        return self._groups(pixels, green, red, blue, alpha, distance)

    def _groups(self, pixels: int, *codes: PrefixCode) -> bytearray:
        (green, green_mask), (red, red_mask), (blue, blue_mask), (alpha, alpha_mask), (distance, distance_mask) = codes
        data, at, named = self._data, self._at, bytearray(MAX_GROUPS)
        while pixels > 0:
            if not self._symbols:
                raise _TooLongError
            self._symbols -= 1
            window = int.from_bytes(data[at >> 3 : (at >> 3) + WINDOW_BYTES], "little") >> (at & 7)
            entry = green[window & green_mask]
            symbol, used = entry >> 4, entry & 15
            if symbol < LITERALS:
                entry = red[window >> used & red_mask]
                named[entry >> 4 << 8 | symbol] = 1
                used += entry & 15
                used += blue[window >> used & blue_mask] & 15
                used += alpha[window >> used & alpha_mask] & 15
                pixels -= 1
            elif symbol < LITERALS + LENGTHS:
                extra = _extra_bits(symbol - LITERALS)
                pixels -= _value(symbol - LITERALS, window >> used & (1 << extra) - 1)
                used += extra
                entry = distance[window >> used & distance_mask]
                used += (entry & 15) + _extra_bits(entry >> 4)
            else:
                named[0] = 1
                pixels -= 1
            at += used
        self._go_to(at)
        return named

    def prefix_code(self, alphabet: int) -> PrefixCode:
        """Read a code of so many symbols."""
        if not self._read(1):
            return _prefix_code(self._code_lengths(alphabet))
        two, long = self._read(1), self._read(1)
        symbols = {self._read(8 if long else 1)} | ({self._read(8)} if two else set())
        lengths = np.zeros(LITERALS, np.int64)
        lengths[list(symbols)] = 1
        return _prefix_code(lengths[:alphabet])

    def _code_lengths(self, alphabet: int) -> np.ndarray:
        lengths_lengths = np.zeros(len(CODE_LENGTHS_ORDER), np.int64)
        for symbol in CODE_LENGTHS_ORDER[: 4 + self._read(4)]:
            lengths_lengths[symbol] = self._read(3)
        table, mask = _prefix_code(lengths_lengths)
        left = 2 + self._read(2 + 2 * self._read(3)) if self._read(1) else alphabet
        if left > alphabet:
            raise ImageDamagedError
        lengths, previous = list[int](), INITIAL_CODE_LENGTH
        while left and len(lengths) < alphabet:
            entry = table[self._window() & mask]
            self._at += entry & 15
            if (symbol := entry >> 4) < REPEAT_PREVIOUS:
                lengths.append(symbol)
                previous = symbol or previous
            else:
                extra, least = REPEATS[symbol - REPEAT_PREVIOUS]
                lengths += [previous if symbol == REPEAT_PREVIOUS else 0] * (least + self._read(extra))
            left -= 1
        if len(lengths) > alphabet:
            raise ImageDamagedError
        return np.array(lengths)

    def _window(self) -> int:
        at = self._at
        return int.from_bytes(self._data[at >> 3 : (at >> 3) + WINDOW_BYTES], "little") >> (at & 7)

    def _read(self, bits: int) -> int:
        found = self._window() & (1 << bits) - 1
        self._go_to(self._at + bits)
        return found

    def _go_to(self, at: int) -> None:
        if at > self._end:
            raise ImageDamagedError
        self._at = at


def _blocks(pixels: int, bits: int) -> int:
    return -(-pixels >> bits)


def _extra_bits(symbol: int) -> int:
    return max(0, symbol - 2 >> 1)


def _value(symbol: int, extra: int) -> int:
    """Return the length that a symbol of it and its extra bits mean."""
    return symbol + 1 if symbol < 4 else (2 + (symbol & 1) << (symbol - 2 >> 1)) + extra + 1


def _prefix_code(lengths: np.ndarray) -> PrefixCode:
    """Return the canonical code of symbols by their lengths, 0 where one is not used."""
    symbols = np.flatnonzero(lengths)
    if len(symbols) == 1:
        return (int(symbols[0]) << 4,), 0
    symbols = symbols[np.argsort(lengths[symbols], kind="stable")]
    used = lengths[symbols]
    longest = int(used[-1]) if len(used) else 0
    repeats = 1 << longest - used
    if not longest or repeats.sum() != 1 << longest:
        raise ImageDamagedError
    # The first bit of a code is the stream's lowest.
    places = REVERSED_BITS[: 1 << longest] >> MAX_CODE_LENGTH - longest
    return memoryview(np.repeat(symbols << 4 | used, repeats).astype(np.uint16)[places]), (1 << longest) - 1
