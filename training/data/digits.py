"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, in its wheel (Alpaydin and Kaynak 1998, UCI)."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from training.data.images import Images, Source


def load(folder: Path | None) -> Source:
    """The digits; there is nothing to read from a folder. Their 17 grey values are spread over 0 to 255."""
    digits = load_digits()
    pixels = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(-1)
    return Source(tuple(map(str, range(10))), Images(pixels, torch.from_numpy(digits.target).long()))
