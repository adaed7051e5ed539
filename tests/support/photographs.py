"""Pictures to ask about."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def photograph(size: int = 32, seed: int = 0) -> bytes:
    """A square of a real photograph, chosen by chance, as PNG."""
    photographs = load_sample_images().images
    random = np.random.default_rng(seed)
    pixels = photographs[seed % len(photographs)]
    top, left = (int(random.integers(0, side - 200)) for side in pixels.shape[:2])
    return encoded(Image.fromarray(pixels[top : top + 200, left : left + 200]).resize((size, size)), "PNG")


def largest(side: int = 4096) -> bytes:
    """As many pixels as a picture may have, in few bytes."""
    return encoded(Image.linear_gradient("L").resize((side, side)).convert("RGB"), "JPEG")


def encoded(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def together(pictures: list[bytes], media_type: str = "image/png") -> tuple[bytes, str]:
    """Several in one form, and its media type."""
    head = f'--p\r\nContent-Disposition: form-data; name="images"; filename="a"\r\nContent-Type: {media_type}\r\n\r\n'
    parts = b"".join(head.encode() + picture + b"\r\n" for picture in pictures)
    return parts + b"--p--\r\n", "multipart/form-data; boundary=p"
