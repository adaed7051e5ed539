"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, in its wheel (Alpaydin and Kaynak 1998, UCI)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training.data.images import Images, Source
from training.data.wheel import published

SIDE = 8


def load(folder: Path | None) -> Source:
    """The digits; there is nothing to read from a folder. Their 17 grey values are spread over 0 to 255."""
    rows = torch.from_numpy(np.loadtxt(published("data/digits.csv.gz"), delimiter=","))
    pixels = (rows[:, :-1] * (255 / 16)).round().to(torch.uint8).reshape(-1, SIDE, SIDE, 1)
    return Source(tuple(map(str, range(10))), Images(pixels, rows[:, -1].long()))
