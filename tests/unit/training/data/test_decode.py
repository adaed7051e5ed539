"""Pictures as people see them, and pixel for pixel as the service reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from model_store.manifest import InputShape
from service.pipeline.preprocessing import decode
from training.data.decode import MAX_PIXELS, decode_image
from training.errors import DataError

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
SIZES = [(8, 8), (8, 20), (37, 23), (5, 3), (1, 1), (300, 200)]
GREY, COLOUR = ("1", "L", "LA", "I;16"), ("P", "P with alpha", "RGB", "RGBA")
KINDS = {
    "png": (*GREY, *COLOUR),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
}
CASES = [(suffix, mode, size) for suffix, modes in KINDS.items() for mode in modes for size in SIZES]


def drawn(mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture of random pixels, a little smoothed so that JPEG keeps most of it."""
    generator = np.random.default_rng(sum(size))
    noise = generator.integers(0, 256, (max(1, size[1] // 2), max(1, size[0] // 2), 4), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size)
    if mode == "P with alpha":
        return picture.quantize(16)
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65_536, size[::-1], dtype=np.uint16))
    return picture.convert("RGB").quantize(16) if mode == "P" else picture.convert(mode)


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(("suffix", "mode", "size"), CASES)
def test_pixels_are_those_that_the_service_reads(tmp_path: Path, suffix: str, mode: str, size: tuple[int, int]) -> None:
    path = saved(tmp_path / f"picture.{suffix}", drawn(mode, size))
    channels = 1 if mode in GREY else 3
    for side in (8, 31):
        found = decode_image(path, side)
        expected = decode(path.read_bytes(), InputShape(height=side, width=side, channels=channels), MAX_PIXELS)
        assert found.dtype == np.uint8
        assert found.shape == (side, side, channels)
        assert (found == expected).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(8, 8), (37, 23)])
def test_orientation_is_that_which_the_service_sees(
    tmp_path: Path, suffix: str, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"picture.{suffix}", drawn("RGB", size), exif=exif)
    expected = decode(path.read_bytes(), InputShape(height=8, width=8, channels=3), MAX_PIXELS)
    assert (decode_image(path, 8) == expected).all()


def test_transparent_grey_goes_over_white(tmp_path: Path) -> None:
    """A grey value that a PNG declares transparent is white."""
    path = saved(tmp_path / "picture.png", Image.fromarray(RAMP), transparency=4)
    found = decode_image(path, 8)
    assert found[0, 1, 0] == 255
    assert found[0, 2, 0] == 8
    assert (found == decode(path.read_bytes(), InputShape(height=8, width=8, channels=1), MAX_PIXELS)).all()


def test_a_picture_of_the_right_size_is_untouched(tmp_path: Path) -> None:
    colour = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)
    for suffix, options in (("png", {}), ("bmp", {}), ("webp", {"lossless": True})):
        assert (decode_image(saved(tmp_path / f"p.{suffix}", Image.fromarray(colour), **options), 8) == colour).all()


def test_a_wide_picture_is_cut_around_its_centre(tmp_path: Path) -> None:
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 200
    assert (decode_image(saved(tmp_path / "wide.png", Image.fromarray(wide)), 8) == 200).all()


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    assert (decode_image(saved(tmp_path / "picture.jpg", Image.fromarray(RAMP), format="PNG"), 8)[..., 0] == RAMP).all()


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "huge.png", Image.new("1", (20_000, 900)))
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded.append)
    with pytest.raises(DataError, match=r"huge\.png has 20000 x 900 pixels: at most 16,777,216 pixels are allowed"):
        decode_image(path, 8)
    assert not decoded


def test_a_huge_photograph_is_decoded_small(tmp_path: Path) -> None:
    """A JPEG counts with the pixels that are decoded, a fraction of those it has."""
    path = saved(tmp_path / "huge.jpg", Image.linear_gradient("L").resize((6_000, 4_000)))
    assert decode_image(path, 32).shape == (32, 32, 1)


@pytest.mark.parametrize("content", [b"", b"no picture", b"GIF89a" + bytes(50)], ids=["empty", "text", "another type"])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.png is not an image of a supported type: PNG, JPEG, WEBP, BMP"):
        decode_image(tmp_path / "odd.png", 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_picture_that_was_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"half.{suffix}", drawn("RGB", (300, 200)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"half\.{suffix} cannot be decoded: it is damaged or cut short"):
        decode_image(path, 8)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nothing\.png: No such file or directory"):
        decode_image(tmp_path / "nothing.png", 8)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.png: Is a directory"):
        decode_image(tmp_path / "folder.png", 8)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_mutated_pictures_never_crash(tmp_path: Path) -> None:
    """Random damage gives pixels or a refusal that names the file, never anything else."""
    generator = np.random.default_rng(0)
    path, outcomes = tmp_path / "picture", set()
    wholes = [saved(tmp_path / f"whole.{suffix}", drawn("RGB", (9, 12))).read_bytes() for suffix in KINDS]
    for number in range(800):
        damaged = bytearray(wholes[number % len(wholes)])
        for _ in range(generator.integers(1, 6)):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            outcomes.add(decode_image(path, 8).shape)
        except DataError as error:
            outcomes.add(str(path) in str(error))
    assert {(8, 8, 3), True} <= outcomes <= {(8, 8, 1), (8, 8, 3), True}
