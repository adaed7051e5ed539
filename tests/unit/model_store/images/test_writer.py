"""A picture in memory and its PNG are the same to the decoder."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model_store.images import ImageDamagedError, ImageError, ImageTypeError, write_png
from tests.support.pictures import Size, drawn, opened, originals


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 2**31))
def test_pixels_come_back(height: int, width: int, channels: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    shape = Size(height, width, channels)
    assert np.array_equal(opened(write_png(pixels), shape).decode(), pixels)
    image = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)
    assert np.array_equal(opened(write_png(image), shape).decode(), pixels)
    if channels == 1:
        assert np.array_equal(opened(write_png(pixels[..., 0]), shape).decode(), pixels)


@pytest.mark.parametrize(("kind", "data"), list(originals((48, 36))))
def test_a_picture_opened_from_a_file_is_its_file(kind: str, data: bytes) -> None:
    """Whatever its mode; upright where the file has an orientation, and nothing else of what it says is written."""
    image = Image.open(BytesIO(data))
    shape = Size(40, 40, 3)
    expected = opened(data, shape).decode().astype(int)
    written = write_png(image)
    assert b"a camera" not in written
    difference = abs(opened(written, shape).decode().astype(int) - expected)
    # Pillow's conversion of CMYK differs from the decoder's by rounding.
    assert difference.max() <= (0 if "CMYK" not in kind else 2), kind


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (object(), ImageTypeError, "is a object: expected a path, bytes, an array or a Pillow image"),
        (np.zeros((4, 4), np.float32), ImageTypeError, r"is an array float32 \[4, 4\]"),
        (np.zeros((4, 4, 2), np.uint8), ImageTypeError, "1, 3 or 4 channels"),
        (np.zeros((2, 4, 4, 3), np.uint8), ImageTypeError, r"\[2, 4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), ImageDamagedError, "has 4 x 0 pixels"),
    ],
)
def test_what_is_no_picture(picture: Any, error: type[ImageError], message: str) -> None:
    with pytest.raises(error, match=message):
        write_png(picture)


def test_a_damaged_file_behind_an_image() -> None:
    buffer = BytesIO()
    drawn("RGB", (64, 64)).save(buffer, "PNG")
    image = Image.open(BytesIO(buffer.getvalue()[:2_000]))
    with pytest.raises(ImageDamagedError, match="cannot be read"):
        write_png(image)
