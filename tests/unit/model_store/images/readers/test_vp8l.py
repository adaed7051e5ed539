"""Prefix codes of lossless WebP: as many as there are, read in bounded time, whatever is read."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from io import BytesIO
from itertools import product

import pytest
from PIL import Image

from model_store.images.errors import ImageDamagedError
from model_store.images.readers.vp8l import (
    DISTANCES,
    LENGTHS,
    LITERALS,
    MAX_CACHE_BITS,
    MAX_GROUPS,
    MAX_SYMBOLS,
    Codes,
    Reader,
    read_codes,
)
from tests.support.images import encode
from tests.support.pictures import drawn
from tests.support.vp8l import container, grouped_webp

# Of the file, its chunk and the bitstream.
HEADS_BYTES = 12 + 8 + 5


def codes_of(data: bytes) -> Codes:
    """Codes of a lossless picture in a file without other chunks."""
    size = int.from_bytes(data[HEADS_BYTES - 4 : HEADS_BYTES], "little")
    length = struct.unpack_from("<I", data, 16)[0]
    return read_codes(data, HEADS_BYTES, 20 + length, (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1)


def pixels_of(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def encoded() -> list[bytes]:
    """Pictures with all transforms and colour caches, by an encoder."""
    smooth = Image.linear_gradient("L").resize((320, 250)).convert("RGB")
    patched = smooth.copy()
    for seed, (place, levels) in enumerate({(0, 0): 9, (160, 0): 40, (0, 120): 120, (160, 120): 255}.items()):
        patched.paste(drawn("RGB", (140, 110), seed).point([each * levels // 255 for each in range(256)] * 3), place)
    pictures = [
        smooth,
        patched,
        patched.resize((960, 750)),
        Image.blend(smooth, drawn("RGB", smooth.size), 0.1),
        drawn("RGBA", (90, 211)),
    ]
    pictures += [drawn("RGB", (150, 100)).quantize(colours).convert("RGB") for colours in (2, 3, 15, 200)]
    pictures += [Image.new("RGB", (300, 300), "navy"), drawn("RGB", (1, 1)), drawn("L", (1000, 3)).convert("RGB")]
    return [encode(each, "WEBP", lossless=True, method=method) for each, method in product(pictures, (0, 3, 4, 6))]


@pytest.mark.parametrize(
    ("named", "groups"),
    [
        ([0], 1),
        ([6], 7),
        (list(range(300)), 300),
        ([999], 1_000),
        ([1_500, *range(10)], 11),
        ([2_400, 5], 2),
        (list(range(2_500)), 2_500),
    ],
)
@pytest.mark.parametrize("cache_bits", [0, 1, 11])
def test_groups_are_those_of_the_entropy_image(named: list[int], groups: int, cache_bits: int) -> None:
    """As the decoder keeps them: beyond 1,000 only those that are used."""
    data = grouped_webp(203, 201, named, cache_bits)
    found = codes_of(data)
    assert (found.groups, found.cache_bits) == (groups, cache_bits)
    assert pixels_of(data).getextrema() == ((0, 0),) * 3


def test_what_is_read_ends_where_the_codes_begin() -> None:
    """Behind it, complete codes of all groups can be read; no other place has them."""
    several = 0
    for data in encoded():
        found, end = codes_of(data), 20 + struct.unpack_from("<I", data, 16)[0]
        several += found.groups > 1
        size = int.from_bytes(data[HEADS_BYTES - 4 : HEADS_BYTES], "little")
        reader = Reader(data, HEADS_BYTES, end, MAX_SYMBOLS)
        assert reader.codes((size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1) == found
        colours = 1 << found.cache_bits if found.cache_bits else 0
        for _ in range(found.groups):
            for alphabet in (LITERALS + LENGTHS + colours, LITERALS, LITERALS, LITERALS, DISTANCES):
                reader.prefix_code(alphabet)
    assert several >= 8


def test_an_encoders_codes_take_little() -> None:
    """Of a photograph of 3 million pixels, far less than its pixels."""
    photograph = Image.radial_gradient("L").resize((2_000, 1_500)).convert("RGB")
    photograph.paste(drawn("RGB", (700, 700)), (300, 300))
    assert codes_of(encode(photograph, "WEBP", lossless=True)).decoding_bytes < 4_000_000


def test_images_before_the_picture_are_read_to_a_bound() -> None:
    """What is longer is taken for the worst of its size and length."""
    data = grouped_webp(1_024, 1_024, [2_000, *range(100)])
    found = codes_of(data)
    assert (found.groups, found.cache_bits) == (found.bits // 20, MAX_CACHE_BITS)
    assert found.groups > 50_000
    longest = grouped_webp(1_024, 1_024, list(range(MAX_GROUPS)))
    assert codes_of(longest).groups == MAX_GROUPS


def test_every_cut_before_the_codes_is_damaged() -> None:
    for data in encoded()[::10]:
        codes_end, size = len(data) - codes_of(data).bits // 8 - 1, pixels_of(data).size
        for end in range(HEADS_BYTES, min(codes_end, HEADS_BYTES + 400)):
            with pytest.raises(ImageDamagedError):
                read_codes(data, HEADS_BYTES, end, *size)


def test_mutants_are_read_or_damaged_and_never_refused_where_they_decode() -> None:
    files, decoded, damaged = encoded(), 0, 0
    for seed in range(2_000):
        chance = random.Random(seed)
        data = chance.choice(files)
        content = bytearray(data[20 : 20 + struct.unpack_from("<I", data, 16)[0]])
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = 5 + chance.randrange(min(len(content) - 5, chance.choice((8, 60, 2**20))))
            content[place] = chance.randrange(256)
        mutant = container(bytes(content))
        try:
            codes = codes_of(mutant)
            assert 1 <= codes.groups <= MAX_GROUPS
        except ImageDamagedError:
            damaged += 1
            with pytest.raises((OSError, EOFError)):
                pixels_of(mutant)
        else:
            with suppress(OSError, EOFError):
                decoded += pixels_of(mutant) is not None
    assert decoded > 200
    assert damaged > 200
