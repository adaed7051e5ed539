"""scikit-learn's digits as images."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from training.data import digits


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
