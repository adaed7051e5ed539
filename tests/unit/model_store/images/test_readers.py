"""Readers of single formats: fill, ends, scans, runs and tags cost no more than they are worth."""

from __future__ import annotations

import struct
import time
import zlib

import pytest
from PIL import Image

from model_store.images import (
    ImageDamagedError,
    ImageError,
    ImageTooLargeError,
    ImageTypeError,
)
from tests.support.images import encode
from tests.support.pictures import PHOTOGRAPH, Size, drawn, opened, segment


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


def test_compressed_bitmaps_count_as_the_work_that_they_are() -> None:
    """Which Pillow does in Python."""
    palette = b"".join(bytes((each, each, each, 0)) for each in range(256))
    body = b"\x40\x07\0\0" * 64 + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, len(body), 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(body), 0, 0, 54 + len(palette)) + head + palette + body
    image = opened(data)
    assert (image.decode() == 7).all()
    assert image.work > 10 * image.width * image.height


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


def test_pixels_in_empty_chunks_are_refused() -> None:
    """A file of nothing else would take a second for each 10 MB; as many as encoders write are read."""
    empty = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    data = encode(drawn("RGB", (40, 40)))
    at = data.index(b"IDAT") - 4
    expected = opened(data).decode()
    assert (opened(data[:at] + 1_000 * empty + data[at:]).decode() == expected).all()
    with pytest.raises(ImageDamagedError, match="far too many chunks"):
        opened(data[:at] + 100_000 * empty + data[at:]).decode()
