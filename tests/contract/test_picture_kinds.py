"""Every kind of picture as people see it, against pixels that are worked out here, from files that are written here."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.images import FORMATS
from model_store.manifest import InputShape
from service.errors import MediaTypeError, UndecodableError
from service.pipeline.preprocessing import decode
from tests.support.images import encode

SHAPE = InputShape(height=8, width=8, channels=3)
WITH_TIFF = (*FORMATS, "tiff")
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
# First row and column, and steps, of the seven passes of an interlaced PNG.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
GENERATOR = np.random.default_rng(7)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows_of(samples_HWC: np.ndarray, depth: int) -> bytes:
    """Unfiltered rows, samples packed to their depth."""
    packed = b""
    for row in samples_HWC.reshape(len(samples_HWC), -1):
        if depth == 16:
            packed += b"\0" + row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed += b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()
    return packed


def png(samples_HWC: np.ndarray, colour: int, depth: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """A PNG of these samples."""
    height, width, _ = samples_HWC.shape
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [samples_HWC[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples_HWC]
    data = zlib.compress(b"".join(rows_of(part, depth) for part in parts if part.size))
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def samples(colour: int, depth: int) -> np.ndarray:
    return GENERATOR.integers(0, 2**depth, (8, 8, CHANNELS[colour]))


def seen(samples_HWC: np.ndarray, colour: int, depth: int) -> np.ndarray:
    """What people see, as reals from 0 to 255."""
    scaled = samples_HWC.astype(float) * 255 / (2**depth - 1)
    if colour in (GREY_ALPHA, RGB_ALPHA):
        alpha = scaled[..., -1:] / 255
        scaled = scaled[..., :-1] * alpha + 255 * (1 - alpha)
    return np.broadcast_to(scaled, (8, 8, 3))


def assert_seen(data: bytes, expected_HWC: np.ndarray, tolerance: float = 1.01, **options: Any) -> None:
    found = decode(data, SHAPE, 10_000, **options).astype(float)
    assert abs(found - expected_HWC).max() <= tolerance


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("colour", "depth"),
    [(GREY, 1), (GREY, 2), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16),
     (GREY_ALPHA, 8), (GREY_ALPHA, 16), (RGB_ALPHA, 8), (RGB_ALPHA, 16)],
)  # fmt: skip
def test_png_of_every_kind(colour: int, depth: int, interlaced: bool) -> None:
    pixels = samples(colour, depth)
    # Of sixteen bits, the upper eight of both grey and alpha make up to one level each.
    assert_seen(png(pixels, colour, depth, interlaced=interlaced), seen(pixels, colour, depth), 2.02)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_palette(depth: int, transparent: bool) -> None:
    """An index means a colour, and where there are any, an alpha."""
    pixels = samples(PALETTE, depth)
    colours = GENERATOR.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    alphas = GENERATOR.integers(0, 256, 2**depth, dtype=np.uint8) if transparent else np.full(2**depth, 255, np.uint8)
    chunks = [chunk(b"PLTE", colours.tobytes())] + [chunk(b"tRNS", alphas.tobytes())] * transparent
    looked_up = np.concatenate([colours, alphas[:, None]], 1)[pixels[..., 0]]
    assert_seen(png(pixels, PALETTE, depth, *chunks), seen(looked_up, RGB_ALPHA, 8))


@pytest.mark.parametrize(("colour", "depth"), [(GREY, 1), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16)])
def test_png_transparent_colour(colour: int, depth: int) -> None:
    """Pixels of one colour are white, and no others."""
    pixels = samples(colour, depth)
    key = pixels[3, 3]
    expected = seen(pixels, colour, depth).copy()
    expected[(pixels == key).all(-1)] = 255
    assert_seen(png(pixels, colour, depth, chunk(b"tRNS", key.astype(">u2").tobytes())), expected)


def test_transparent_colours_do_not_bleed() -> None:
    """What is hidden does not show at the edges of what is not, when a picture is made smaller."""
    grey = np.zeros((64, 64, 1), int)
    grey[:, ::2] = 90  # hidden
    expected = np.full((8, 8, 3), 127.5)  # black and white by halves
    assert_seen(png(grey, GREY, 8, chunk(b"tRNS", struct.pack(">H", 90))), expected, 12)
    chunks = chunk(b"PLTE", bytes(3 * 90) + b"\xff\0\0"), chunk(b"tRNS", b"\xff" * 90 + b"\0")
    assert_seen(png(grey, PALETTE, 8, *chunks), expected, 12)


def flat(colour: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, float), (8, 8, 3))


RED_CMYK = (0, 255, 255, 0)


def test_cmyk_jpeg_as_adobe_writes_it() -> None:
    """Adobe's marker and inverted values, which Pillow writes too: full magenta and yellow are red."""
    data = encode(Image.new("CMYK", (8, 8), RED_CMYK), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    assert_seen(data, flat((255, 0, 0)), 3)
    assert_seen(encode(Image.new("CMYK", (8, 8), (0, 0, 0, 128)), "JPEG"), flat((127, 127, 127)), 3)


def test_ycck_jpeg() -> None:
    """Adobe's transform 2: CMY as if they were RGB, in luma and chroma, and K inverted."""
    c, m, y, _ = RED_CMYK
    luma = 0.299 * c + 0.587 * m + 0.114 * y
    ycc = (luma, 128 + (y - luma) / 1.772, 128 + (c - luma) / 1.402)
    stored = tuple(255 - round(max(each, 0)) for each in ycc)  # Pillow inverts what it writes
    data = bytearray(encode(Image.new("CMYK", (8, 8), (*stored, 0)), "JPEG", quality=100, subsampling=0))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    assert_seen(bytes(data), flat((255, 0, 0)), 4)


def frames(kind: str) -> bytes:
    """A picture that is red first, then green."""
    red, green = (Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0)))
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    return encode(red, kind, save_all=True, append_images=[green], duration=100, **options)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    assert_seen(frames(kind), flat((255, 0, 0)))


def test_tiff_is_read_where_it_is_switched_on() -> None:
    """Its first page, upright, and of depths that have a white."""
    upright = GENERATOR.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = encode(Image.fromarray(upright), "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    with pytest.raises(MediaTypeError):
        decode(data, SHAPE, 10_000)
    assert_seen(data, upright, formats=WITH_TIFF)
    turned = encode(Image.fromarray(np.rot90(upright)), "TIFF", tiffinfo={274: 6})
    assert_seen(turned, upright, formats=WITH_TIFF)
    assert_seen(encode(Image.new("CMYK", (8, 8), RED_CMYK), "TIFF"), flat((255, 0, 0)), formats=WITH_TIFF)
    deep = GENERATOR.integers(0, 2**16, (8, 8), dtype=np.uint16)
    assert_seen(encode(Image.fromarray(deep), "TIFF"), deep[..., None] / 257, formats=WITH_TIFF)
    for array in (deep.astype(np.int32), deep.astype(np.float32)):
        with pytest.raises(UndecodableError):
            decode(encode(Image.fromarray(array), "TIFF"), SHAPE, 10_000, formats=WITH_TIFF)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_that_is_not_square(orientation: int) -> None:
    """Turned once, not twice, and not stretched: as the same picture in a PNG."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(GENERATOR.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    wide = InputShape(height=4, width=8, channels=3)
    expected = decode(encode(picture, exif=exif), wide, 10_000)
    found = decode(encode(picture, "TIFF", tiffinfo={274: orientation}), wide, 10_000, formats=WITH_TIFF)
    assert (abs(found.astype(int) - expected) <= 2).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_orientation_of_photographs(kind: str) -> None:
    """A white left half that was stored lying, on top."""
    stored = Image.fromarray(np.repeat(np.array([[255] * 4 + [0] * 4], np.uint8), 8, 0).T.copy())
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned a quarter to the left
    found = decode(encode(stored, kind, exif=exif, quality=100), SHAPE, 10_000).astype(int)
    assert found[:, :3].min() > 240
    assert found[:, 5:].max() < 15


def test_bitmaps() -> None:
    """Of 1, 8, 24 and 32 bits, of which eight mean nothing."""
    colour = GENERATOR.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert_seen(encode(Image.fromarray(colour), "BMP"), colour)
    assert_seen(encode(Image.fromarray(colour[..., 0]), "BMP"), colour[..., :1])
    black = colour[..., 0] < 128
    assert_seen(encode(Image.fromarray(~black), "BMP"), np.where(black[..., None], 0, 255))
    padded = np.concatenate([colour, np.full((8, 8, 1), 51, np.uint8)], -1)
    assert_seen(encode(Image.fromarray(padded), "BMP"), colour)


def gif(at: tuple[int, int], size: tuple[int, int], transparent: int | None) -> bytes:
    """A GIF with one frame of the colour 1, which is red, on a larger screen whose background is green."""
    screen = struct.pack("<HHBBB", 8, 8, 0b1000_0000, 0, 0) + bytes((0, 255, 0, 255, 0, 0))
    control = b"" if transparent is None else b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    buffer = BytesIO()
    Image.new("P", size, 1).save(buffer, "GIF", optimize=False)
    plain = buffer.getvalue()
    pixels = plain[plain.index(b",", 13 + 3 * 2 ** ((plain[10] & 7) + 1)) + 10 :]
    frame = b"," + struct.pack("<HHHHB", *at, *size, 0) + pixels
    return b"GIF89a" + screen + control + frame


def test_gif_transparency() -> None:
    """A transparent colour is white; what the first frame leaves out is the background's, where that is seen."""
    assert_seen(gif((0, 0), (8, 8), None), flat((255, 0, 0)))
    assert_seen(gif((0, 0), (8, 8), 1), flat((255, 255, 255)))
    for transparent, around in ((0, (255, 255, 255)), (None, (0, 255, 0))):
        expected = flat(around).copy()
        expected[2:6, 4:8] = (255, 0, 0)
        assert_seen(gif((4, 2), (4, 4), transparent), expected)
