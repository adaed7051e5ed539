"""Plain PNG files: what is read sooner is what Pillow reads, and all that is not plain is left to it."""

from __future__ import annotations

import random
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from model_store.images.readers.png import CHECKSUM, decode_plain
from model_store.manifest import InputShape
from service.pipeline.preprocessing import decode

COLOUR, GREY = (InputShape(height=9, width=7, channels=channels, resize="center-crop") for channels in (3, 1))
MOST = 10_000


def noise(shape: InputShape, seed: int = 0) -> np.ndarray:
    size = (shape.height, shape.width, shape.channels)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def written(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [COLOUR, GREY])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_pixels(shape: InputShape, level: int) -> None:
    """Whatever a filter or compression: noise, a ramp, and one colour."""
    ramp = np.arange(shape.height * shape.width * shape.channels, dtype=np.uint8)
    for pixels in (noise(shape), ramp.reshape(noise(shape).shape), np.full_like(noise(shape), 200)):
        found = decode_plain(written(pixels, compress_level=level), shape)
        assert found is not None
        np.testing.assert_array_equal(found, pixels)


def test_several_pieces() -> None:
    """The compressed pixels may come in pieces, empty ones among them."""
    data = written(noise(COLOUR))
    begin = data.index(b"IDAT")
    (length,) = CHECKSUM.unpack_from(data, begin - 4)
    content = data[begin + 4 : begin + 4 + length]
    pieces = (content[:10], b"", content[10:])
    chunks = [CHECKSUM.pack(len(each)) + b"IDAT" + each + CHECKSUM.pack(zlib.crc32(b"IDAT" + each)) for each in pieces]
    found = decode_plain(data[: begin - 4] + b"".join(chunks) + data[begin + 4 + length + 4 :], COLOUR)
    assert found is not None
    np.testing.assert_array_equal(found, noise(COLOUR))


def test_what_is_not_plain() -> None:
    """Another size, depth or type; what says how it is seen; anything behind it."""
    pixels, grey, text = noise(COLOUR), noise(GREY), PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "turned")
    turned = Image.Exif()
    turned[0x0112] = 6
    others = [
        written(noise(InputShape(height=7, width=9, channels=3, resize="center-crop"))),
        written(grey),
        written(np.dstack((pixels, grey))),
        written(pixels, transparency=(1, 2, 3)),
        written(pixels, pnginfo=text),
        written(pixels, exif=turned),
        written(pixels) + b"\0",
        written(pixels)[:-12],
        b"",
        written(pixels)[:8],
    ]
    assert all(decode_plain(each, COLOUR) is None for each in others)
    assert decode_plain(written(pixels), GREY) is None


def test_damaged_files() -> None:
    """Of files with a few bytes changed and the checksum mended, nothing is read that Pillow does not read."""
    chance, read = random.Random(0), 0
    for seed in range(1500):
        data = bytearray(written(noise(COLOUR, seed % 5)))
        begin = data.index(b"IDAT")
        (length,) = CHECKSUM.unpack_from(data, begin - 4)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(begin + 4, begin + 4 + length)] = chance.randrange(256)
        CHECKSUM.pack_into(data, begin + 4 + length, zlib.crc32(data[begin : begin + 4 + length]))
        found = decode_plain(bytes(data), COLOUR)
        if found is not None:
            read += 1
            np.testing.assert_array_equal(found, decode(bytes(data), COLOUR, MOST))
    assert 0 < read < 1500
