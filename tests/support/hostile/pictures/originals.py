"""Whole pictures of six formats and many kinds, for mutations to begin with."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

SIDE = 24


def originals() -> list[tuple[str, bytes]]:
    """Formats and bytes of some thirty pictures."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    channels = [Image.linear_gradient("L").resize((SIDE, SIDE)).rotate(90 * turn) for turn in range(3)]
    smooth, veiled = Image.merge("RGB", channels), Image.fromarray(noise)
    grey, deep = smooth.convert("L"), Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "a camera", 72.5
    animated = {"save_all": True, "append_images": [veiled.convert("RGB")]}
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", smooth, {"exif": exif}),
        ("png", veiled, {}),
        ("png", smooth.quantize(16), {"transparency": 3}),
        ("png", grey, {"transparency": 7}),
        ("png", smooth.convert("1"), {}),
        ("png", deep, {}),
        ("png", smooth, animated),
        ("jpeg", smooth, {"exif": exif}),
        ("jpeg", smooth, {"progressive": True}),
        ("jpeg", grey, {"restart_marker_blocks": 2}),
        ("jpeg", smooth.convert("CMYK"), {"subsampling": 0}),
        ("webp", smooth, {"exif": exif}),
        ("webp", veiled, {"lossless": True}),
        ("webp", veiled, {"quality": 40}),
        ("webp", smooth, animated),
        ("gif", smooth, {}),
        ("gif", grey, {"transparency": 7}),
        ("gif", smooth, animated),
        ("bmp", smooth, {}),
        ("bmp", smooth.quantize(16), {}),
        ("bmp", veiled, {}),
        ("bmp", smooth.convert("1"), {}),
        ("tiff", smooth, {"exif": exif}),
        ("tiff", smooth, {"compression": "tiff_lzw"}),
        ("tiff", smooth, {"compression": "jpeg"}),
        ("tiff", smooth.convert("1"), {"compression": "group4"}),
        ("tiff", deep, {"compression": "tiff_adobe_deflate"}),
        ("tiff", veiled, {"compression": "packbits"}),
    ]
    return [(kind, _encoded(image, kind, options)) for kind, image, options in made]


def _encoded(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
