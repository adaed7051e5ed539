"""Pictures as people see them: orientation, alpha, palettes, depth, size."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from model_store.images import FORMATS, open_image
from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError
from service.pipeline.preprocessing import decode
from tests.support.http import refusal
from tests.support.images import encode
from tests.support.services import Warm

GREY = InputShape(height=4, width=4, channels=1)
COLOUR = InputShape(height=4, width=4, channels=3)
RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


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


def test_damaged_orientation_is_upright() -> None:
    """Metadata that make no sense are as good as none."""
    for exif in (
        b"Exif\0\0MM\0*no more",
        b"Exif\0\0" + bytes(40),
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x0a" + bytes(20),
    ):
        found = decode(encode(Image.fromarray(RAMP), exif=exif), GREY, 100)[..., 0]
        assert (found == RAMP).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int) -> None:
    """As Pillow's own transposition does it, for pictures that are also cut and resized."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8))
    expected = ImageOps.exif_transpose(Image.open(BytesIO(encode(picture, exif=exif))))
    wide = InputShape(height=4, width=8, channels=1)
    found = decode(encode(picture, exif=exif), wide, 1000)
    assert (abs(found.astype(int) - decode(encode(expected), wide, 1000)) <= 1).all()


def test_a_large_photograph_is_decoded_small() -> None:
    """A JPEG counts with the pixels that are decoded, a fraction of those it has."""
    photograph = Image.linear_gradient("L").resize((4000, 3000))
    for mode in ("L", "RGB", "CMYK"):
        assert decode(encode(photograph.convert(mode), "JPEG"), GREY, 300_000).shape == (4, 4, 1)
    with pytest.raises(TooLargeError):
        decode(encode(photograph), GREY, 300_000)


def test_a_photograph_in_several_scans_counts_whole() -> None:
    """A decoder holds all of a progressive JPEG, however small it is wanted."""
    progressive = encode(Image.linear_gradient("L").resize((4000, 3000)), "JPEG", progressive=True)
    with pytest.raises(TooLargeError, match="4000 x 3000"):
        decode(progressive, GREY, 300_000)
    disguised = progressive.replace(b"\xff\xc2", b"\xff\xd0\xff\xc2", 1)  # with a marker that has no length before it
    with pytest.raises((TooLargeError, UndecodableError)):
        decode(disguised, GREY, 300_000)


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG of many scans takes as many passes over its pixels, some of them in thirty bytes."""
    progressive = encode(Image.new("L", (4000, 4000), 200), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[:-2] + 80 * progressive[last:-2] + progressive[-2:]
    shape = InputShape(height=1000, width=1000, channels=1)
    assert (decode(progressive, shape, 2**24, until=time.thread_time() + 60) == 200).all()
    with pytest.raises(UndecodableError, match="image 2 takes too long"):
        decode(scans, shape, 2**24, 2, until=time.thread_time() + 0.1)


def test_pictures_of_a_request_share_its_time(digits_store: Path) -> None:
    """The time that one took is not there for the next, whichever is too much."""
    simple, slow = encode(Image.fromarray(RAMP)), encode(Image.effect_noise((2000, 2000), 50))
    with Warm(digits_store, decode_ms=1, max_wait_ms=60_000) as client:
        files = [("images", ("a.png", data)) for data in (simple, slow, simple)]
        assert "image 1 takes too long" in refusal(client.post("/predict", files=files), 422)


def test_a_huge_png_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in search of its orientation, which a PNG may have after its pixels."""
    data = encode(Image.new("L", (2_000, 2_000)))

    def load(picture: Image.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(TooLargeError, match="2000 x 2000"):
        decode(data, GREY, 1_000_000)


def test_what_is_quick() -> None:
    """One small PNG; nothing that is large in bytes or in pixels."""

    def quick(data: bytes) -> bool:
        return open_image(data, GREY, formats=FORMATS, max_pixels=2**24).quick

    assert quick(encode(Image.new("RGB", (64, 64))))
    assert not quick(encode(Image.new("L", (2_000, 2_000))))
    assert not quick(encode(Image.new("L", (4, 4)), "JPEG"))
    assert not quick(encode(Image.effect_noise((128, 128), 50)))


def test_pillows_limit_is_lifted_only_while_a_thread_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user of Pillow in the process keeps the limit, and pictures over it are read, by several threads."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(Image.new("L", (40, 40)))
    shape = InputShape(height=8, width=8, channels=1)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: decode(data, shape, 10_000), range(200)))
    assert len(found) == 200
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(UndecodableError):
        decode(b"\x89PNG\r\n\x1a\n", shape, 10_000)
    assert Image.MAX_IMAGE_PIXELS == 100
