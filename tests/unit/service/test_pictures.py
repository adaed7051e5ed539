"""Pictures in every form that a program has them become the files that the service takes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import ClientError
from service.pictures import picture_files

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def shown(data: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(data)))


def test_one_picture_or_several(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS[0]).save(path)
    for one in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), PIXELS[0], Image.open(path)):
        ((_, data),) = picture_files(one)
        assert np.array_equal(shown(data), PIXELS[0])
        assert [each[1] for each in picture_files([one, one])] == [data, data]
    assert picture_files(path)[0][0] == "a.png"
    assert picture_files([("b", b"12"), b"34"]) == [("b", b"12"), ("image-1", b"34")]
    assert picture_files([]) == []


def test_a_name_with_bytes_is_one_file() -> None:
    """Not a path and bytes; two names are two paths."""
    assert picture_files(("cat.png", b"data")) == [("cat.png", b"data")]
    assert picture_files([("cat.png", b"data"), b"more"]) == [("cat.png", b"data"), ("image-1", b"more")]


def test_an_array_of_four_axes_is_many() -> None:
    assert np.array_equal([shown(data) for _, data in picture_files(PIXELS)], PIXELS)
    assert np.array_equal([shown(data) for _, data in picture_files(PIXELS[..., :1])], PIXELS[..., 0])


@pytest.mark.parametrize(
    ("pictures", "message", "image"),
    [
        ([PIXELS[0], PIXELS[0] / 255], r"image 1 is an array float64 \[8, 8, 3\]", 1),
        ([None], "image 0 is a NoneType: expected a path, bytes, an array or a Pillow image", 0),
        (7, "image 0 is a int", 0),
        (["missing.png"], "cannot read missing.png: No such file", None),
    ],
)
def test_what_is_no_picture_is_named(pictures: Any, message: str, image: int | None) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        picture_files(pictures)
    assert refused.value.image == image
