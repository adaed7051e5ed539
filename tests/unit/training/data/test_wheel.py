"""Files in scikit-learn's wheel: those that its own functions read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from training.data.out_of_distribution import PHOTOGRAPHS
from training.data.wheel import published
from training.errors import DataError


def test_photographs_are_those_of_the_library() -> None:
    theirs = load_sample_images().images
    ours = [np.asarray(Image.open(published(f"images/{name}.jpg"))) for name in PHOTOGRAPHS]
    assert all(map(np.array_equal, ours, theirs))


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="without its datasets/data/nothing: install it again"):
        published("data/nothing")


def test_the_library_is_not_imported() -> None:
    code = (
        "import sys; from training.data import digits, out_of_distribution as other;"
        "from training.data.images import Pixels; digits.load(None);"
        "other.out_of_distribution(Pixels(8, 8, 1, (0.5,), (0.5,)));"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'training'" in loaded
    assert "'sklearn'" not in loaded
