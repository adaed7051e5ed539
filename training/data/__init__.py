"""Images and labels, by name. One file a data set, built alike: the source, `load(folder)`.

images                what every data set becomes
digits                scikit-learn's digits, in its wheel
cifar10               CIFAR-10 in its binary or python layout
pickles               the restricted unpickler that the python layout needs
split                 train, calibration and test
augmentation          random crops and flips, on tensors
out_of_distribution   images that are none of the classes
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data import cifar10, digits
from training.data.images import Dataset, Source
from training.data.split import split
from training.errors import DataError

SOURCES: dict[str, Callable[[Path | None], Source]] = {"digits": digits.load, "cifar10": cifar10.load}


def load_dataset(name: str, folder: Path | None, *, seed: int, limit: int | None = None) -> Dataset:
    """The data set called `name`, split with `seed` and with at most `limit` training images.

    Raises DataError for an unknown name, listing what there is, and for data that are missing or damaged.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}: there is {', '.join(SOURCES)}")
    return split(name, SOURCES[name](folder), seed=seed, limit=limit)
