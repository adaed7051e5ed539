"""TIFF by libtiff, which has a voice of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: what the C library says at its first picture.
DECODE = """
import io, sys
import numpy as np
from PIL import Image
from model_store.images import open_image
from model_store.images.errors import ImageDamagedError
from model_store.manifest import InputShape
noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
file = io.BytesIO()
Image.fromarray(noise).save(file, "TIFF", compression=sys.argv[1])
data = file.getvalue()
shape = InputShape(height=8, width=8, channels=3)
open_image(data, shape, formats=["tiff"], max_pixels=10_000).decode(lambda: None)
for part in (slice(8, 200), slice(1000, 1400)):
    damaged = bytearray(data)
    damaged[part] = bytes(len(damaged[part]))
    try:
        open_image(bytes(damaged), shape, formats=["tiff"], max_pixels=10_000).decode(lambda: None)
    except ImageDamagedError:
        print("damaged")
"""


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_nothing_is_printed_of_what_is_wrong_with_a_file(compression: str) -> None:
    """Standard error is the log's, whose lines are all JSON."""
    done = subprocess.run([sys.executable, "-c", DECODE, compression], capture_output=True, text=True, check=True)
    assert "damaged" in done.stdout
    assert done.stderr == ""
