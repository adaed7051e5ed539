"""Pictures as people see them: orientation, alpha, palettes, depth, size."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError
from service.picture import decode

GREY = InputShape(height=4, width=4, channels=1)
COLOUR = InputShape(height=4, width=4, channels=3)
RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_pixels_are_untouched() -> None:
    """A picture of the model's own size arrives bit by bit, in each lossless format."""
    colour = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})):
        assert (decode(encode(Image.fromarray(colour), kind, **options), COLOUR, 100) == colour).all()
    assert (decode(encode(Image.fromarray(RAMP)), GREY, 100)[..., 0] == RAMP).all()
    assert (decode(encode(Image.fromarray(RAMP), "GIF"), GREY, 100)[..., 0] == RAMP).all()


def test_orientation_is_applied() -> None:
    """EXIF orientation 6 means: turn a quarter clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode(encode(Image.fromarray(RAMP), exif=exif), GREY, 100)[..., 0]
    assert (found == np.rot90(RAMP, -1)).all()


def test_alpha_goes_over_white() -> None:
    """What is transparent is white, half is half."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, 1, 3], pixels[:, 2, 3] = 128, 255
    found = decode(encode(Image.fromarray(pixels)), COLOUR, 100)
    assert (found[:, 0] == 255).all()
    assert (abs(found[:, 1].astype(int) - 127) <= 1).all()
    assert (found[:, 2] == 0).all()


def test_palette_and_sixteen_bits() -> None:
    """A palette is looked up, and of sixteen bits the upper eight count."""
    palette = Image.fromarray(np.stack([RAMP, RAMP, RAMP], -1)).quantize(16)
    assert (abs(decode(encode(palette), GREY, 100)[..., 0].astype(int) - RAMP) <= 1).all()
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert (decode(encode(deep), GREY, 100)[..., 0] == RAMP).all()


def test_cmyk_jpeg() -> None:
    """A CMYK picture is converted."""
    white = Image.new("CMYK", (4, 4), (0, 0, 0, 0))
    assert (decode(encode(white, "JPEG"), COLOUR, 100) >= 250).all()


def test_other_sizes_are_cut_around_the_centre() -> None:
    """A wide picture loses its sides, not its shape."""
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 200
    assert (decode(encode(Image.fromarray(wide)), GREY, 1000) == 200).all()


def test_limits_and_damage() -> None:
    """Each with its own error."""
    picture = encode(Image.fromarray(RAMP))
    with pytest.raises(TooLargeError, match="4 x 4 pixels: at most 15"):
        decode(picture, GREY, 15)
    with pytest.raises(MediaTypeError, match="image 3"):
        decode(b"no picture", GREY, 100, number=3)
    with pytest.raises(MediaTypeError):
        decode(encode(Image.fromarray(RAMP), "TIFF"), GREY, 100)
    with pytest.raises(UndecodableError, match="is empty"):
        decode(b"", GREY, 100)


def test_mutated_pictures_never_crash() -> None:
    """Random damage gives pixels or a refusal, never anything else."""
    generator = np.random.default_rng(0)
    whole = [
        encode(Image.fromarray(RAMP)),
        encode(Image.fromarray(RAMP), "JPEG"),
        encode(Image.fromarray(RAMP), "WEBP"),
    ]
    outcomes = set()
    for number in range(600):
        damaged = bytearray(whole[number % 3])
        for _ in range(generator.integers(1, 6)):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        try:
            outcomes.add(decode(bytes(damaged), GREY, 10_000).shape)
        except (MediaTypeError, UndecodableError, TooLargeError) as error:
            outcomes.add(type(error))
    assert {(4, 4, 1), UndecodableError} <= outcomes
