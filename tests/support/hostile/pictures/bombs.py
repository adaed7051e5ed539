"""Pictures of a few bytes or kilobytes that cost a reader far more, each by one kind of fault."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from math import ceil, isqrt

from PIL import Image

from tests.support.hostile.pictures import exif, gif, jpeg, png, tiff, webp


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def webp_of_few_bytes(side: int = 4096) -> bytes:
    """Some thirty bytes that are millions of black pixels."""
    return _encoded(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0)


def webp_canvas(side: int = 2**24) -> bytes:
    """An extended header with the largest canvas there is, and a picture of one pixel."""
    canvas = b"\0\0\0\0" + 2 * (side - 1).to_bytes(3, "little")
    return webp.join([(b"VP8X", canvas), *webp.split(webp_of_few_bytes(1))])


def webp_animation(side: int = 4096, count: int = 50) -> bytes:
    """Frames of millions of pixels, one after the other, each of some thirty bytes."""
    ((kind, content),) = webp.split(webp_of_few_bytes(side))
    inner = kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    sides = 2 * (side - 1).to_bytes(3, "little")
    frame = bytes(6) + sides + b"\1\0\0\0" + inner
    return webp.join([(b"VP8X", b"\2\0\0\0" + sides), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count])


def png_pixels(side: int = 4096, depth: int = 1, colour: int = 0) -> bytes:
    """A picture of one colour, of so many pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, row = zlib.compressobj(9), bytes(1 + (side * depth * channels + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    palette = [(b"PLTE", bytes(6))] if colour == 3 else []
    return png.join([(b"IHDR", png.header(side, side, depth, colour)), *palette, (b"IDAT", packed), (b"IEND", b"")])


def png_two_headers(side: int = 4096) -> bytes:
    """A header of a small picture, then that of the one which is there."""
    return png.join([(b"IHDR", png.header(32, 32, 1, 0)), *png.split(png_pixels(side))])


def png_late_header() -> bytes:
    """Transparency before the header, so that the header is not where it always is."""
    chunks = png.split(_encoded(Image.new("L", (48, 48)), "PNG"))
    return png.join([(b"tRNS", b"\0\0"), chunks[0], (b"tRNS", b"\0\7"), *chunks[1:]])


def png_interlaced(side: int = 4096) -> bytes:
    """Seven passes over millions of pixels that are not there."""
    return png.join([(b"IHDR", png.header(side, side, 1, 0, 1)), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])


def png_exif_values(count: int = 100_000) -> bytes:
    """An orientation of so many values."""
    chunks = png.split(_encoded(Image.new("RGB", (48, 48)), "PNG"))
    return png.join([chunks[0], (b"eXIf", exif.orientation(count, 5)), *chunks[1:]])


def png_texts(count: int = 200, size: int = 900_000) -> bytes:
    """Texts that each inflate to nearly a megabyte, and a colour profile that does."""
    chunks = png.split(_encoded(Image.new("RGB", (48, 48)), "PNG"))
    packed = zlib.compress(bytes(size), 9)
    texts = [(b"zTXt", b"k%d\0\0" % number + packed) for number in range(count)]
    return png.join([chunks[0], (b"iCCP", b"p\0\0" + packed), *texts, *chunks[1:]])


def png_chunks(count: int = 20_000) -> bytes:
    """Chunks without content, whose names nobody knows."""
    chunks = png.split(_encoded(Image.new("RGB", (48, 48)), "PNG"))
    return png.join([chunks[0], *[(b"teSt", b"")] * count, *chunks[1:]])


def png_without_size() -> bytes:
    """A width of none."""
    return png.join([(b"IHDR", png.header(0, 48)), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])


def _progressive(side: int) -> list[bytes]:
    """Tables and scans of a grey progressive picture whose every block is a run that nothing follows."""
    tables = [jpeg.segment(jpeg.HUFFMAN, bytes((kind, 1, *bytes(15), value))) for kind, value in ((0, 0), (0x10, 0xE0))]
    # A run of blocks without coefficients: one bit of code, 14 of its length.
    runs = ceil(ceil(side / 8) ** 2 / 32_767)
    bits = ("0" + "1" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    coded = (int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b"").replace(b"\xff", b"\xff\0")
    return [*tables, jpeg.segment(jpeg.SCAN, b"\1\1\0\1\x3f\0") + coded]


def _frame(marker: int, side: int) -> bytes:
    return jpeg.segment(marker, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")


def jpeg_fill_byte(side: int = 32_760) -> bytes:
    """A fill byte before a progressive frame, and a sequential frame where a reader that ignores it goes on."""
    table, body = jpeg.segment(jpeg.QUANTIZATION, b"\0" + b"\1" * 64), b"\xff" + _frame(0xC2, side)
    gap = 2 + 0xC200 - len(body) - 4
    hidden = jpeg.segment(0xEF, bytes(gap) + _frame(0xC0, side) + jpeg.segment(jpeg.SCAN, b"\1" + bytes(5)) + bytes(16))
    return b"".join((jpeg.START, table, body, hidden, *_progressive(side), jpeg.END))


def jpeg_progressive(side: int = 16_000, scans: int = 200) -> bytes:
    """Passes without end over the coefficients of a large picture."""
    table = jpeg.segment(jpeg.QUANTIZATION, b"\0" + b"\1" * 64)
    *tables, scan = _progressive(side)
    return b"".join((jpeg.START, table, _frame(0xC2, side), *tables, *[scan] * scans, jpeg.END))


def jpeg_two_frames() -> bytes:
    """A frame of 65,500 x 65,500 behind that of the picture."""
    whole = jpeg.split(_encoded(Image.new("L", (48, 48)), "JPEG"))
    return jpeg.join([*whole[:-1], (0xC0, struct.pack(">BHHB", 8, 65_500, 65_500, 1) + b"\1\x11\0", b""), whole[-1]])


def jpeg_exif_values(count: int = 7_000) -> bytes:
    """An orientation of as many values as a segment holds."""
    whole = jpeg.split(_encoded(Image.new("RGB", (48, 48)), "JPEG"))
    return jpeg.join([(0xE1, b"Exif\0\0" + exif.orientation(count, 5), b""), *whole])


def jpeg_segments(count: int = 20_000) -> bytes:
    """Application segments without content."""
    whole = jpeg.split(_encoded(Image.new("RGB", (48, 48)), "JPEG"))
    return jpeg.join([*[(0xE0, b"", b"")] * count, *whole])


def jpeg_endless(side: int = 4096) -> bytes:
    """A large picture without its coded data and its end."""
    whole = jpeg.split(_encoded(Image.new("L", (side, side)), "JPEG"))
    return jpeg.join([*whole[:-1], (jpeg.SCAN, whole[-1][1], b"")], b"")


def gif_disposed_frame(side: int = 65_535) -> bytes:
    """A frame far larger than its screen that is to be replaced by the background: readers may draw that at once."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x08\0\0\0\0"
    return screen + control + gif.FRAME + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\2\2\x44\1\0" + gif.END


def gif_screen(side: int = 65_535) -> bytes:
    """A screen of billions of pixels around a small frame."""
    whole = _encoded(Image.new("L", (8, 8)), "GIF")
    return whole[:6] + struct.pack("<HH", side, side) + whole[10:]


def gif_comments(count: int = 20_000) -> bytes:
    """Comments without content."""
    whole = _encoded(Image.new("L", (8, 8)), "GIF")
    place = whole.index(gif.FRAME, 13)
    return whole[:place] + (gif.EXTENSION + b"\xfe\1a\0") * count + whole[place:]


def bmp_run_lengths(side: int = 30_000) -> bytes:
    """A picture of run lengths that ends at once."""
    info = struct.pack("<IIIHHIIIIII", 40, side, side, 1, 8, 1, 2, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(info) + 8) + info + bytes(8) + b"\0\1"


def bmp_sizes() -> bytes:
    """A size beyond 31 bits, from the top down."""
    whole = _encoded(Image.new("RGB", (8, 8)), "BMP")
    return whole[:18] + struct.pack("<ii", 2**31 - 1, -(2**31)) + whole[26:]


def tiff_strips(count: int = 2**28) -> bytes:
    """A table of so many strips, which is not there."""
    whole = _encoded(Image.new("RGB", (8, 8)), "TIFF")
    tags = [(tag, kind, count if tag == tiff.OFFSETS else n, value) for tag, kind, n, value in tiff.entries(whole)]
    return tiff.rebuild(whole, tags)


def tiff_samples(count: int = 65_535) -> bytes:
    """So many samples a pixel."""
    whole = _encoded(Image.new("RGB", (8, 8)), "TIFF")
    changed = {tiff.SAMPLES: struct.pack("<I", count)}
    return tiff.rebuild(whole, [(tag, kind, n, changed.get(tag, value)) for tag, kind, n, value in tiff.entries(whole)])


def tiff_compressed(side: int = 4096) -> bytes:
    """Millions of pixels in some kilobytes."""
    return _encoded(Image.new("L", (side, side)), "TIFF", compression="tiff_adobe_deflate")


def tiff_circle() -> bytes:
    """A directory that is followed by itself."""
    whole = _encoded(Image.new("RGB", (8, 8)), "TIFF")
    return tiff.rebuild(whole, tiff.entries(whole), len(whole))


# By name and kind of file. Each is given a side within the limit on pixels, and bytes that a request may have.
BOMBS: dict[str, Callable[[int, int], bytes]] = {
    "few-bytes.webp": lambda side, size: webp_of_few_bytes(side),
    "canvas.webp": lambda side, size: webp_canvas(),
    "animation.webp": lambda side, size: webp_animation(side),
    "pixels.png": lambda side, size: png_pixels(side),
    "deep-pixels.png": lambda side, size: png_pixels(side, 16, 6),
    "two-headers.png": lambda side, size: png_two_headers(side),
    "late-header.png": lambda side, size: png_late_header(),
    "interlaced.png": lambda side, size: png_interlaced(side),
    "exif-values.png": lambda side, size: png_exif_values(size // 10),
    "texts.png": lambda side, size: png_texts(min(200, size // 1000)),
    "chunks.png": lambda side, size: png_chunks(size // 20),
    "no-width.png": lambda side, size: png_without_size(),
    "fill-byte.jpeg": lambda side, size: jpeg_fill_byte(min(8 * side, 65_535) - 8),
    "progressive.jpeg": lambda side, size: jpeg_progressive(side),
    "two-frames.jpeg": lambda side, size: jpeg_two_frames(),
    "exif-values.jpeg": lambda side, size: jpeg_exif_values(),
    "segments.jpeg": lambda side, size: jpeg_segments(size // 10),
    "endless.jpeg": lambda side, size: jpeg_endless(side),
    "disposed-frame.gif": lambda side, size: gif_disposed_frame(),
    "screen.gif": lambda side, size: gif_screen(),
    "comments.gif": lambda side, size: gif_comments(size // 10),
    "run-lengths.bmp": lambda side, size: bmp_run_lengths(side),
    "sizes.bmp": lambda side, size: bmp_sizes(),
    "strips.tiff": lambda side, size: tiff_strips(),
    "samples.tiff": lambda side, size: tiff_samples(),
    "compressed.tiff": lambda side, size: tiff_compressed(side),
    "circle.tiff": lambda side, size: tiff_circle(),
}


def bombs(max_pixels: int, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each, as large as a reader may get that takes so many pixels."""
    for name, make in BOMBS.items():
        yield name, make(isqrt(max_pixels), max_bytes)
