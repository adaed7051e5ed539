"""Train, calibration and test: disjoint, stratified by class, and a function of the seed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.data.dataset import Dataset, Images, Pixels, Source
from training.data.ood import load_ood_sets
from training.errors import DataError
from training.randomness import generator_for

# Of a source without an official test split, this share of each class is the test set.
TEST_SHARE = 0.2
# Of what is left to train on, this share of each class is held out to calibrate on.
CALIBRATION_SHARE = 0.1
# Images without an official split are divided the same way whatever the run's seed, so that runs can be compared.
TEST_SEED = 0


def split(name: str, source: Source, *, seed: int, limit: int | None = None, folder: Path | None = None) -> Dataset:
    """Divide a source, and add the images of `out_of_distribution`, some of which may lie in `folder`.

    `limit` keeps that many of the images to train on, and at most as many of each set of others; the same share of
    each class. Raises DataError where no two classes are left to train on.
    """
    train, test = source.train, source.test
    if test is None:
        train, test = _hold_out(train, _shares(train, TEST_SHARE), TEST_SEED, "test")
    train, test = _limited(train, limit, seed), _limited(test, limit, TEST_SEED)
    train, calibration = _hold_out(train, _shares(train, CALIBRATION_SHARE), seed, "calibration")
    if len(train.labels.unique()) < 2:
        cause = "" if limit is None else f"; the limit of {limit} leaves too few"
        raise DataError(f"the training set must have images of at least two classes{cause}")
    pixels = Pixels.of(train.pixels)
    strangers = {stranger: images[:limit] for stranger, images in load_ood_sets(pixels, folder).items()}
    return Dataset(name, source.classes, pixels, train, calibration, test, strangers)


def _limited(images: Images, limit: int | None, seed: int) -> Images:
    """Exactly `limit` of the images, or all where there are no more; fewer of the same seed are among them."""
    if limit is None or limit >= len(images):
        return images
    return _hold_out(images, _quotas(images, limit), seed, "limit")[1]


def _shares(images: Images, share: float) -> list[int]:
    """How many images of each class are `share` of it: at least one."""
    return [max(1, round(share * count)) for count in _counts(images)]


def _quotas(images: Images, total: int) -> list[int]:
    """How many images of each class are `total` together: one of each where that can be, and shares of the others."""
    counts = _counts(images)
    least = 1 if total >= len(counts) else 0
    spare = [count - least for count in counts]
    exact = [(total - least * len(counts)) * each / sum(spare) for each in spare]
    quotas = [least + int(each) for each in exact]
    for place in sorted(range(len(counts)), key=lambda place: int(exact[place]) - exact[place])[: total - sum(quotas)]:
        quotas[place] += 1  # where most was rounded off
    return quotas


def _counts(images: Images) -> list[int]:
    """How many images each class has, of those that have any."""
    return [int(count) for count in images.labels.unique(return_counts=True)[1]]


def _hold_out(images: Images, counts: list[int], seed: int, purpose: str) -> tuple[Images, Images]:
    """Two disjoint parts: the rest, and so many images of each class."""
    generator = generator_for(seed, purpose)
    held: list[Tensor] = []
    for label, count in zip(images.labels.unique(), counts, strict=True):
        of_class = (images.labels == label).nonzero().squeeze(1)
        held.append(of_class[torch.randperm(len(of_class), generator=generator)[:count]])
    index = torch.cat(held).sort().values
    left = torch.ones(len(images), dtype=torch.bool)
    left[index] = False
    return images[left], images[index]
