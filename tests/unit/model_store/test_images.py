"""One decoder of pictures: what is decoded is what was checked, whatever headers and metadata say."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from model_store.images import (
    ImageDamagedError,
    ImageTooLargeError,
    ImageTypeError,
    open_image,
)
from model_store.images.exif import read_orientation
from tests.support.images import encode
from tests.support.pictures import COLOUR, PHOTOGRAPH, Size, chunk, drawn, opened, originals, put_in, segment


def test_a_second_header_is_refused_or_without_effect() -> None:
    """Pillow would believe the last one."""
    large = struct.pack(">IIBBBBB", 4096, 4096, 1, 0, 0, 0, 0)
    small = encode(Image.new("L", (8, 8), 7))
    with pytest.raises(ImageDamagedError):
        opened(put_in(small, chunk(b"IHDR", large)))
    late = opened(put_in(small, chunk(b"IHDR", large), before=b"IEND"))
    assert (late.width, late.height) == (8, 8)
    assert (late.decode() == 7).all()


def exif(kind: int, count: int, value: bytes, order: str = ">") -> bytes:
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, count) + value + bytes(4)


def test_orientation_is_one_short() -> None:
    assert read_orientation(exif(3, 1, b"\0\x06\0\0")) == 6
    assert read_orientation(b"Exif\0\0" + exif(3, 1, b"\x08\0\0\0", "<")) == 8
    for block in (
        exif(3, 2, b"\0\x06\0\x06"),
        exif(5, 3_900_000, b"\0\0\0\x1a"),
        exif(4, 1, b"\0\0\0\x06"),
        exif(3, 1, b"\0\x09\0\0"),
        exif(3, 1, b"\0\0\0\0"),
        b"",
        b"MM\0*",
        b"MM\0*\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0" + bytes(40),
    ):
        assert read_orientation(block) == 1


def test_metadata_cost_nothing() -> None:
    """Text bombs, profiles and long orientations are not even read; what is bounded is refused beyond its bound."""
    plain = encode(PHOTOGRAPH.resize((8, 8)))
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))
    long = chunk(b"eXIf", exif(5, 500_000, b"\0\0\0\x1a") + bytes(4_000_000))
    loaded = put_in(plain, chunk(b"iCCP", b"icc\0\0no profile"), *[bomb] * 60, long)
    assert (opened(loaded).decode() == opened(plain).decode()).all()
    assert opened(loaded).decoding_bytes < 4 * 2**20 + 3 * len(loaded)
    with pytest.raises(ImageDamagedError):
        opened(put_in(plain, *[chunk(b"tEXt", b"a\0b")] * 2_000))
    photograph = encode(PHOTOGRAPH, "JPEG")
    with pytest.raises(ImageDamagedError):
        opened(photograph[:2] + segment(0xE1, b"more") * 20_000 + photograph[2:])


def test_size_is_that_of_what_is_decoded() -> None:
    """A JPEG's fraction; the canvas of frames; a GIF's frame that is larger than its screen."""
    large = encode(PHOTOGRAPH.resize((4000, 3000)), "JPEG")
    assert (opened(large).width, opened(large).height) == (500, 375)
    progressive = encode(PHOTOGRAPH.resize((4000, 3000)), "JPEG", progressive=True)
    with pytest.raises(ImageTooLargeError, match=r"has 4000 x 3000 pixels: at most 1,048,576 pixels are allowed"):
        opened(progressive)
    grown = bytearray(encode(Image.new("P", (500, 400)), "GIF"))
    grown[6:10] = struct.pack("<HH", 1, 1)
    assert (opened(bytes(grown)).width, opened(bytes(grown)).height) == (500, 400)


def test_types_and_damage() -> None:
    for data in (b"no picture", b"<svg/>", b"RIFF____WAVE", encode(PHOTOGRAPH, "PPM")):
        with pytest.raises(ImageTypeError, match="is not a picture of a supported type: PNG"):
            open_image(data, COLOUR, formats=("png",), max_pixels=100)
    with pytest.raises(ImageTypeError):
        open_image(encode(PHOTOGRAPH), COLOUR, formats=("jpeg",), max_pixels=2**20)
    with pytest.raises(ImageDamagedError, match="is empty"):
        opened(b"")
    for name, data in originals((300, 200)):
        with pytest.raises(ImageDamagedError):
            opened(data[: len(data) // 3]).decode()
        assert opened(data).format == {"apng": "png"}.get(name.split()[0], name.split()[0]).upper()


@pytest.mark.parametrize("error", [TimeoutError("late"), ValueError("no"), KeyboardInterrupt(), OSError(5, "gone")])
def test_what_a_check_raises_passes_through(error: BaseException) -> None:
    """Even what decoders raise themselves; and it is called all the time."""
    for name, data in originals((300, 200)):
        calls: list[int] = []
        opened(data).decode(lambda calls=calls: calls.append(1))
        assert len(calls) > 2, name
        for last in {2, len(calls) // 2 + 1, len(calls)}:
            left = [last]

            def check(left: list[int] = left) -> None:
                left[0] -= 1
                if not left[0]:
                    raise error

            with pytest.raises(type(error)) as raised:
                opened(data).decode(check)
            assert raised.value is error


def test_quick_is_a_small_png() -> None:
    assert opened(encode(Image.new("RGB", (8, 8)))).quick
    assert opened(encode(Image.new("RGB", (60, 60)))).quick
    assert not opened(encode(Image.new("RGB", (80, 80)))).quick
    assert not opened(encode(Image.new("RGB", (8, 8)), "JPEG")).quick
    assert not opened(put_in(encode(Image.new("RGB", (8, 8))), chunk(b"tEXt", bytes(5_000)))).quick


def test_grey_is_known_before_it_is_decoded() -> None:
    """And its three channels are equal to its one."""
    for name, data in originals():
        grey = name.split()[-1] in ("1", "L", "LA", "I;16") or name.startswith("jpeg L")
        assert opened(data).is_grey == grey, name
        if grey:
            three, one = opened(data).decode(), opened(data, Size(8, 8, 1)).decode()
            assert (three == one).all()


def test_a_transparent_colour_of_sixteen_bits_is_exact() -> None:
    """Colours that differ in their lower eight bits are other colours; bits beyond the depth do not count."""
    deep = np.full((8, 8, 3), (65_535, 300, 65_535), ">u2")
    deep[:, 4:, 1] = 301
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    colour = chunk(b"tRNS", struct.pack(">HHH", 65_535, 300, 65_535))
    found = opened(head + colour + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")).decode()
    assert (found[:, :4] == 255).all()
    assert (found[:, 4:] == (255, 1, 255)).all()
    shallow = encode(Image.new("L", (8, 8), 90))
    assert (opened(put_in(shallow, chunk(b"tRNS", struct.pack(">H", 0x015A)))).decode() == 255).all()


def test_pixels_do_not_depend_on_the_container() -> None:
    """The same picture in all lossless formats; chunks in pieces and files with a tail are the same picture."""
    picture = drawn("RGB", (37, 29))
    files = [encode(picture), encode(picture, "BMP"), encode(picture, "WEBP", lossless=True), encode(picture, "TIFF")]
    found = [opened(each).decode() for each in (*files, files[0] + b"tail", files[2] + b"tail")]
    assert all((one == other).all() for one, other in pairwise(found))
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=0)
    assert (opened(buffer.getvalue()).decode() == found[0]).all()
