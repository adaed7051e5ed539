"""Pictures of six formats and many kinds, and mutants of them."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from model_store.images import EncodedImage, open_image
from tests.support.images import encode

SIX = ("png", "jpeg", "webp", "bmp", "gif", "tiff")
# What changes sizes, markers and types.
TOKENS = (b"\xff\xff", b"\xff\xc2", b"\xff\xc0", b"\xff\xda", b"\xff\xd9", b"IHDR", b"IDAT", b"tRNS", b"VP8X", b"ANMF")
TOKENS += (bytes(4), b"\xff" * 4, struct.pack("<H", 4096), struct.pack(">H", 4096), struct.pack(">I", 2**16))


class Size(NamedTuple):
    """Shape of a model's input."""

    height: int
    width: int
    channels: int


COLOUR = Size(8, 8, 3)
PHOTOGRAPH = Image.linear_gradient("L").resize((640, 480)).convert("RGB")


def opened(data: bytes, shape: Size = COLOUR, max_pixels: int = 2**20) -> EncodedImage:
    """A picture of any of the six formats, its header read."""
    return open_image(data, shape, formats=SIX, max_pixels=max_pixels)


def drawn(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture of random pixels, a little smoothed so that JPEG keeps most of it."""
    generator = np.random.default_rng(sum(size) + seed)
    noise = generator.integers(0, 256, (max(1, size[1] // 2), max(1, size[0] // 2), 4), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size)
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65_536, size[::-1], dtype=np.uint16))
    return picture.convert("RGB").quantize(16) if mode == "P" else picture.convert(mode)


def originals(size: tuple[int, int] = (48, 37)) -> Iterator[tuple[str, bytes]]:
    """Undamaged pictures by the name of their kind."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "a camera", 72.5
    rgb, rgba, palette = drawn("RGB", size), drawn("RGBA", size), drawn("P", size)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"png {mode}", encode(drawn(mode, size))
    yield "png with colour", encode(rgb, transparency=rgb.getpixel((0, 0)))
    yield "png with alphas", encode(palette, transparency=bytes(range(0, 256, 16)), exif=exif)
    yield "apng", encode(rgb, save_all=True, append_images=[rgb.rotate(180)])
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            picture = drawn(mode, size)
            yield f"jpeg {mode} {progressive}", encode(picture, "JPEG", progressive=progressive, exif=exif)
    for lossless in (False, True):
        yield f"webp {lossless}", encode(rgba, "WEBP", lossless=lossless, exif=exif)
        yield f"webp opaque {lossless}", encode(rgb, "WEBP", lossless=lossless)
        yield (
            f"webp frames {lossless}",
            encode(rgba, "WEBP", lossless=lossless, save_all=True, append_images=[rgba.rotate(180)]),
        )
    yield "gif", encode(palette, "GIF", transparency=3)
    yield "gif frames", encode(palette, "GIF", save_all=True, append_images=[palette.rotate(180)])
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"bmp {mode}", encode(drawn(mode, size), "BMP")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff {compression}", encode(rgb, "TIFF", compression=compression, tiffinfo={274: 3})
    yield "tiff I;16", encode(drawn("I;16", size), "TIFF")


def mutant(data: bytes, seed: int) -> bytes:
    """A picture with some bytes changed, cut, doubled or put in; of a PNG, sometimes with right checksums."""
    chance, damaged = random.Random(seed), bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        # Mostly in the headers, where little does much.
        place = chance.randrange(min(len(damaged), chance.choice((64, 700, len(damaged)))))
        match chance.randrange(6):
            case 0:
                token = chance.choice(TOKENS)
                damaged[place : place + len(token)] = token
            case 1:
                damaged[place:place] = chance.choice(TOKENS)
            case 2:
                damaged[place : place + chance.randint(1, 40)] = b""
            case 3:
                damaged[place:place] = damaged[place : place + chance.randint(1, 80)]
            case _:
                damaged[place] = chance.randrange(256)
        if len(damaged) < 2:
            return bytes(damaged)
    return with_checksums(damaged) if chance.random() < 0.7 else bytes(damaged)


def with_checksums(damaged: bytearray) -> bytes:
    """Mend the checksums of a PNG as far as its chunks can be followed."""
    offset = 8
    while damaged.startswith(b"\x89PNG") and offset + 12 <= len(damaged):
        end = offset + 8 + int.from_bytes(damaged[offset : offset + 4], "big")
        if end + 4 > len(damaged):
            break
        damaged[end : end + 4] = struct.pack(">I", zlib.crc32(damaged[offset + 4 : end]))
        offset = end + 4
    return bytes(damaged)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def put_in(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with more chunks, before those of a type."""
    place = data.index(before) - 4
    return data[:place] + b"".join(chunks) + data[place:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content
