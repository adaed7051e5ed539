"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998, UCI).

The files are read from the installed wheel without importing scikit-learn, which takes seconds.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from model_store.text import printable
from training.data.dataset import Images, Source
from training.errors import DataError

SIDE = 8


def load(folder: Path | None) -> Source:
    """Load the digits, with their 17 grey values spread over 0 to 255; raise DataError where a `folder` is given."""
    if folder is not None:
        raise DataError(f"digits need no --data-dir: expected --data folder for the pictures in {printable(folder)}")
    rows = torch.from_numpy(np.loadtxt(sklearn_file("data/digits.csv.gz"), delimiter=","))
    pixels = (rows[:, :-1] * (255 / 16)).round().to(torch.uint8).reshape(-1, SIDE, SIDE, 1)
    return Source(tuple(map(str, range(10))), Images(pixels, rows[:, -1].long()))


def sklearn_file(name: str) -> Path:
    """Return the path of a file of `sklearn.datasets`; raise DataError if it is missing."""
    spec = find_spec("sklearn")
    folders = () if spec is None else spec.submodule_search_locations or ()
    for folder in folders:
        path = Path(folder) / "datasets" / name
        if path.is_file():
            return path
    raise DataError(f"scikit-learn is installed without its datasets/{name}: install it again, with pip")
