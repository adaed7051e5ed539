"""TIFF by libtiff, which has a voice of its own."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from model_store.images import open_image
from model_store.images.errors import ImageDamagedError
from model_store.manifest import InputShape

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


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_that_is_cut_short_is_damaged(compression: str, mode: str) -> None:
    """Whatever else is written behind its samples is not taken for them."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).convert(mode).save(file, "TIFF", compression=compression)
    shape = InputShape(height=8, width=8, channels=3)
    with pytest.raises(ImageDamagedError):
        open_image(file.getvalue()[:-300], shape, formats=["tiff"], max_pixels=10_000).decode(lambda: None)
