"""scikit-learn's digits as images, and the files in its wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from training.data import digits
from training.data.digits import sklearn_file
from training.data.ood import PHOTOGRAPHS
from training.errors import DataError


def test_shapes_types_and_ranges() -> None:
    source = digits.load(None)
    assert source.train.pixels.shape == (1797, 8, 8, 1)
    assert source.train.pixels.dtype == torch.uint8
    assert (source.train.pixels.min(), source.train.pixels.max()) == (0, 255)
    assert source.train.labels.dtype == torch.int64
    assert source.train.labels.unique().tolist() == list(range(10))
    assert source.classes == tuple("0123456789")
    assert source.test is None


def test_grey_values_keep_their_order_and_spread() -> None:
    """The publisher's 17 values 0 … 16 become 0 … 255 in equal steps."""
    pixels, published = digits.load(None).train.pixels.squeeze(-1).numpy(), load_digits().images
    assert np.abs(pixels - published * 255 / 16).max() <= 0.5
    assert len(np.unique(pixels)) == 17


def test_a_folder_is_of_other_data() -> None:
    with pytest.raises(DataError, match="digits need no --data-dir: expected --data folder for the pictures in mine"):
        digits.load(Path("mine"))


def test_photographs_are_those_of_the_library() -> None:
    theirs = load_sample_images().images
    ours = [np.asarray(Image.open(sklearn_file(f"images/{name}.jpg"))) for name in PHOTOGRAPHS]
    assert all(map(np.array_equal, ours, theirs))


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="without its datasets/data/nothing: install it again"):
        sklearn_file("data/nothing")


def test_the_library_is_not_imported() -> None:
    code = (
        "import sys; from training.data import digits, ood;"
        "from training.data.dataset import Pixels; digits.load(None);"
        "ood.load_ood_sets(Pixels(8, 8, 1, (0.5,), (0.5,)));"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'training'" in loaded
    assert "'sklearn'" not in loaded
