"""One decoder of pictures: what is decoded is what was checked, whatever headers and metadata say."""

from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from model_store.images import (
    EncodedImage,
    ImageDamagedError,
    ImageError,
    ImageTooLargeError,
    ImageTypeError,
    open_image,
)
from model_store.images.exif import read_orientation
from tests.support.images import encode
from tests.support.pictures import SIX, Size, drawn, originals

COLOUR = Size(8, 8, 3)
PHOTOGRAPH = Image.linear_gradient("L").resize((640, 480)).convert("RGB")


def opened(data: bytes, shape: Size = COLOUR, max_pixels: int = 2**20) -> EncodedImage:
    return open_image(data, shape, formats=SIX, max_pixels=max_pixels)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def put_in(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    place = data.index(before) - 4
    return data[:place] + b"".join(chunks) + data[place:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def test_a_second_header_is_refused_or_without_effect() -> None:
    """Pillow would believe the last one."""
    large = struct.pack(">IIBBBBB", 4096, 4096, 1, 0, 0, 0, 0)
    small = encode(Image.new("L", (8, 8), 7))
    with pytest.raises(ImageDamagedError):
        opened(put_in(small, chunk(b"IHDR", large)))
    late = opened(put_in(small, chunk(b"IHDR", large), before=b"IEND"))
    assert (late.width, late.height) == (8, 8)
    assert (late.decode() == 7).all()


def hidden_progressive(side: int) -> bytes:
    """A progressive JPEG behind a byte of fill; who takes that for a length finds a forged sequential frame."""
    frame = b"\x08" + struct.pack(">HHB", side, side, 1) + b"\x01\x11\0"
    forged = segment(0xC0, frame) + segment(0xDA, b"\x01\x01\0\0\x3f\0") + bytes(16)
    distance = 0xC200 - 2 - len(segment(0xC2, frame))
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + bytes(64 * [1]))
        + b"\xff"
        + segment(0xC2, frame)
        + segment(0xEF, bytes(distance - 1) + forged)
        + segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")
        + segment(0xDA, b"\x01\x01\0\x01\x3f\0")
        + bytes(64)
        + b"\xff\xd9"
    )


def test_fill_bytes_hide_no_frame() -> None:
    """Bytes of fill may stand before any marker; a progressive picture counts with all its pixels."""
    with pytest.raises(ImageTooLargeError, match="20000 x 20000"):
        opened(hidden_progressive(20_000), max_pixels=2**24)
    plain = encode(PHOTOGRAPH, "JPEG")
    frame = plain.index(b"\xff\xc0")
    filled = plain[:frame] + b"\xff" * 9 + plain[frame:]
    assert (opened(filled).decode() == opened(plain).decode()).all()


def test_runs_of_fill_bytes_are_passed_once() -> None:
    """Before the frame and between scans; a search that began anew at each byte would take 20 s for 60 KB."""
    sequential, progressive = encode(PHOTOGRAPH, "JPEG"), encode(PHOTOGRAPH, "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    begun = time.thread_time()
    filled = opened(sequential[:2] + b"\xff" * 60_000 + sequential[2:])
    with pytest.raises(ImageDamagedError):
        opened(b"\xff\xd8" + b"\xff" * 2**15)
    with pytest.raises(ImageDamagedError):
        opened(progressive[:last] + b"\xff" * 2**15).decode()
    assert time.thread_time() - begun < 2  # some 0.05
    assert (filled.decode() == opened(sequential).decode()).all()


def test_a_jpeg_without_its_end_is_read_and_a_truncated_one_is_not() -> None:
    """Of one and of several scans, cut wherever there are pixels left."""
    for options in ({}, {"progressive": True}, {"progressive": True, "subsampling": 0}):
        whole = encode(drawn("RGB", (60, 44)), "JPEG", quality=90, **options)
        shape = Size(44, 60, 3)
        assert (opened(whole[:-2], shape).decode() == opened(whole, shape).decode()).all()
        begin = whole.index(b"\xff\xda") + 20
        cuts = [*range(begin, len(whole) - 8, 61), *range(len(whole) - 40, len(whole) - 8)]
        scans = [at for at in range(begin, len(whole)) if whole[at : at + 2] in (b"\xff\xda", b"\xff\xc4")]
        for cut in (*cuts, *scans):
            with pytest.raises(ImageDamagedError):
                opened(whole[:cut], shape).decode()


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


def test_compressed_bitmaps_are_bounded() -> None:
    """Pillow decompresses them in Python, row by row."""
    head = struct.pack("<IiiHHIIiiII", 40, 70_000, 1, 1, 8, 1, 4, 0, 0, 256, 0)
    body = bytes(range(256)) * 4 + b"\0\0\0\1"
    data = b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + 40 + 1024) + head + body
    with pytest.raises(ImageTooLargeError, match="70,000 pixels wide"):
        opened(data)
    many = bytearray(encode(Image.new("P", (8, 8), 3), "BMP"))
    many[46:50] = struct.pack("<I", 65_536)
    with pytest.raises(ImageDamagedError):
        opened(bytes(many))


def test_a_pass_over_all_pixels_is_not_to_be_had_for_thirty_bytes() -> None:
    """Each scan counts in the work, wherever an end is feigned; more than any encoder writes are refused."""
    plain, progressive = (encode(drawn("L", (64, 64)), "JPEG", progressive=each) for each in (False, True))
    last = progressive.rindex(b"\xff\xda")
    scan, comment = progressive[last:-2], b"\xff\xfe\x00\x04\xff\xd9"
    assert opened(plain).work <= 64 * 64
    first = opened(progressive).work
    for more in (1, 50):
        assert opened(progressive[:-2] + more * (comment + scan) + b"\xff\xd9").work == first + more * 64 * 64
        assert opened(progressive + more * scan).work == first
    with pytest.raises(ImageTooLargeError, match="at most 100 scans"):
        opened(progressive[:-2] + 100 * (comment + scan) + b"\xff\xd9")


def test_restart_markers_are_no_segments() -> None:
    """Of which a picture in several scans may have thousands."""
    data = encode(drawn("L", (64, 64)), "JPEG", progressive=True)
    begin = data.index(b"\xff\xda") + 10
    assert opened(data[:begin] + 5_000 * b"\xff\xd0" + data[begin:]).work == opened(data).work


def test_compressed_bitmaps_count_as_the_work_that_they_are() -> None:
    """Which Pillow does in Python."""
    palette = b"".join(bytes((each, each, each, 0)) for each in range(256))
    body = b"\x40\x07\0\0" * 64 + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, len(body), 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(body), 0, 0, 54 + len(palette)) + head + palette + body
    image = opened(data)
    assert (image.decode() == 7).all()
    assert image.work > 10 * image.width * image.height


def test_pixels_in_empty_chunks_are_refused() -> None:
    """A file of nothing else would take a second for each 10 MB; as many as encoders write are read."""
    empty = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    data = encode(drawn("RGB", (40, 40)))
    at = data.index(b"IDAT") - 4
    expected = opened(data).decode()
    assert (opened(data[:at] + 1_000 * empty + data[at:]).decode() == expected).all()
    with pytest.raises(ImageDamagedError, match="far too many chunks"):
        opened(data[:at] + 100_000 * empty + data[at:]).decode()


def test_tiff_tags_are_bounded() -> None:
    """A strip that lies outside, a tile larger than the picture, and codecs that choose their memory."""
    plain = encode(PHOTOGRAPH, "TIFF", compression="tiff_lzw")
    changed = {259: 34925, 278: 0, 273: 2**31, 256: 0}
    outcomes = []
    for tag, value in changed.items():
        data = bytearray(plain)
        (offset,) = struct.unpack_from("<I", data, 4)
        for at in range(offset + 2, offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0], 12):
            if struct.unpack_from("<H", data, at)[0] == tag:
                struct.pack_into("<HII", data, at + 2, 4, 1, value)
        try:
            outcomes.append(opened(bytes(data)).decode().shape)
        except ImageError as error:
            outcomes.append(type(error))
    assert outcomes[0] is ImageTypeError
    assert outcomes[3] is ImageDamagedError
    assert set(outcomes[1:3]) <= {ImageDamagedError, (8, 8, 3)}


def test_pixels_do_not_depend_on_the_container() -> None:
    """The same picture in all lossless formats; chunks in pieces and files with a tail are the same picture."""
    picture = drawn("RGB", (37, 29))
    files = [encode(picture), encode(picture, "BMP"), encode(picture, "WEBP", lossless=True), encode(picture, "TIFF")]
    found = [opened(each).decode() for each in (*files, files[0] + b"tail", files[2] + b"tail")]
    assert all((one == other).all() for one, other in pairwise(found))
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=0)
    assert (opened(buffer.getvalue()).decode() == found[0]).all()
