"""Train, calibration and test: disjoint, stratified by class, and a function of the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data.images import Dataset, Images, Pixels, Source
from training.data.out_of_distribution import out_of_distribution
from training.errors import DataError
from training.randomness import generator_for

# Of a source without an official test split, this share of each class is the test set.
TEST_SHARE = 0.2
# Of what is left to train on, this share of each class is held out to calibrate on.
CALIBRATION_SHARE = 0.1
# Images without an official split are divided the same way whatever the run's seed, so that runs can be compared.
TEST_SEED = 0


def split(name: str, source: Source, *, seed: int, limit: int | None = None) -> Dataset:
    """Divide a source; `limit` keeps only that many of the images to train on, the same share of each class."""
    train, test = source.train, source.test
    if test is None:
        train, test = _hold_out(train, TEST_SHARE, TEST_SEED, "test")
    if limit is not None and limit < len(train):
        _, train = _hold_out(train, limit / len(train), seed, "limit")
    train, calibration = _hold_out(train, CALIBRATION_SHARE, seed, "calibration")
    if len(train.labels.unique()) < 2:
        raise DataError("the training set must have images of at least two classes")
    pixels = Pixels.of(train.pixels)
    strangers = out_of_distribution(pixels)
    return Dataset(name, source.classes, pixels, train, calibration, test, strangers, source.mirrored)


def _hold_out(images: Images, share: float, seed: int, purpose: str) -> tuple[Images, Images]:
    """Two disjoint parts: the rest, and `share` of each class (at least one image of it)."""
    generator = generator_for(seed, purpose)
    held: list[Tensor] = []
    for label in images.labels.unique():
        of_class = (images.labels == label).nonzero().squeeze(1)
        count = max(1, round(share * len(of_class)))
        held.append(of_class[torch.randperm(len(of_class), generator=generator)[:count]])
    index = torch.cat(held).sort().values
    left = torch.ones(len(images), dtype=torch.bool)
    left[index] = False
    return images[left], images[index]
