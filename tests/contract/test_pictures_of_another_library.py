"""Real files of all kinds, whose right pixels OpenCV computes, composited over white in floating point."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model_store.images import open_image
from tests.support.images import encode
from tests.support.pictures import SIX, Size, drawn

WIDTH, HEIGHT = 45, 38
SHAPE = Size(HEIGHT, WIDTH, 3)


def seen_by_opencv(data: bytes) -> npt.NDArray[np.float64]:
    """RGB from 0 to 255 as reals, over white; of an animation, the first frame."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    reals = found.astype(float) / (257 if found.dtype == np.uint16 else 1)
    reals = reals[..., None] if reals.ndim == 2 else reals
    alpha = reals[..., 3:] / 255 if reals.shape[2] == 4 else 1.0
    return np.asarray((reals[..., 2::-1] if reals.shape[2] > 1 else reals) * alpha + 255 * (1 - alpha))


def written_by_opencv(pixels: np.ndarray, suffix: str, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return bytes(data)


def deep(channels: int) -> np.ndarray:
    generator = np.random.default_rng(channels)
    return generator.integers(0, 2**16, (HEIGHT, WIDTH, channels), dtype=np.uint16)


SIZE = (WIDTH, HEIGHT)
RGB, RGBA, PALETTE = drawn("RGB", SIZE), drawn("RGBA", SIZE), drawn("P", SIZE)
KINDS: dict[str, bytes] = {
    **{f"png {mode}": encode(drawn(mode, SIZE)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "png with a transparent colour": encode(RGB, transparency=RGB.getpixel((3, 3))),
    "png with transparent indices": encode(PALETTE, transparency=bytes(range(0, 256, 16))),
    "png of 48 bits": written_by_opencv(deep(3), ".png"),
    "png of 64 bits": written_by_opencv(deep(4), ".png"),
    "apng": encode(RGB, save_all=True, append_images=[RGB.rotate(180)]),
    **{f"jpeg {mode}": encode(drawn(mode, SIZE), "JPEG", quality=95) for mode in ("L", "RGB")},
    "jpeg progressive": encode(RGB, "JPEG", progressive=True, subsampling=2),
    "jpeg of rgb": encode(RGB, "JPEG", keep_rgb=True),
    "jpeg cmyk": encode(drawn("CMYK", SIZE), "JPEG", quality=95),
    "jpeg by opencv": written_by_opencv(np.asarray(RGB), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "webp": encode(RGB, "WEBP"),
    "webp lossless with alpha": encode(RGBA, "WEBP", lossless=True),
    "webp with alpha": encode(RGBA, "WEBP", quality=90),
    "webp grey with alpha": encode(drawn("LA", SIZE).convert("RGBA"), "WEBP", lossless=True),
    "gif": encode(PALETTE, "GIF"),
    "bmp 24": encode(RGB, "BMP"),
    "bmp 8": encode(PALETTE, "BMP"),
    "bmp grey": encode(drawn("L", SIZE), "BMP"),
    "tiff": encode(RGB, "TIFF"),
    "tiff lzw": encode(RGB, "TIFF", compression="tiff_lzw"),
    "tiff of 16 bits": written_by_opencv(deep(1), ".tiff"),
    "tiff of 48 bits": written_by_opencv(deep(3), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 1),
}
# Levels between two decoders: of 16 bits the upper eight count; of JPEG and lossy WebP, chroma are interpolated.
TOLERANCES = {"jpeg": 6.0, "webp": 6.0, "webp lossless with alpha": 2.0, "png of 64 bits": 3.0}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_another_library(kind: str) -> None:
    found = open_image(KINDS[kind], SHAPE, formats=SIX, max_pixels=10_000).decode().astype(float)
    tolerance = TOLERANCES.get(kind, TOLERANCES.get(kind.split()[0], 1.6))
    assert abs(found - seen_by_opencv(KINDS[kind])).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_another_library(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encode(RGB, kind, exif=exif, **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    shape = Size(*expected.shape)
    assert shape[:2] == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))
    found = open_image(data, shape, formats=SIX, max_pixels=10_000).decode()
    assert abs(found - expected).max() <= (6 if kind == "JPEG" else 1)
