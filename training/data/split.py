"""Split a data set into training, calibration and test set: disjoint, stratified, determined by the seed.

Without an official test set, and with too few images to hold out two sets of use, one set is held out for both. It is
tested in turns (`Dataset.turns`), and as many images are left to train on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from model_store.small_samples import ALPHAS, images_needed
from training.data.dataset import Dataset, Images, Pixels, Source
from training.data.ood import load_ood_sets
from training.errors import DataError
from training.randomness import generator_for

# Share of each class in the test set, without an official split.
TEST_SHARE = 0.2
# Share of each class of the remaining images in the calibration set.
CALIBRATION_SHARE = 0.1
# Fewest images to calibrate on, where they are a quarter of the training images at most: sets that miss a tenth take 9.
MIN_CALIBRATION = 10
# Fewest where the test set is divided off too, so that more images never allow fewer prediction sets: as many as the
# smallest error rate takes.
MIN_OF_TWO = images_needed(min(ALPHAS))
# Share of each class that is held out for both where it is fewer images than these.
HELD_OUT_SHARE, MIN_DIVIDED = TEST_SHARE + (1 - TEST_SHARE) * CALIBRATION_SHARE, 300
# The test set does not depend on the run's seed, so that runs can be compared.
TEST_SEED = 0


def split(name: str, source: Source, *, seed: int, limit: int | None = None, folder: Path | None = None) -> Dataset:
    """Split a source, and add the OOD sets of `load_ood_sets`, which may read files in `folder`.

    `limit` keeps that many training images, and at most as many of every other set, in the classes' proportions. Raises
    DataError if fewer than two classes remain to train on.
    """
    train, test = source.train, source.test
    in_turns = test is None and HELD_OUT_SHARE * len(train) < MIN_DIVIDED
    if test is None:
        share = HELD_OUT_SHARE if in_turns else TEST_SHARE
        train, test = _hold_out(train, _shares(train, share), TEST_SEED, "test")
    whole, test = train, _limited(test, limit, TEST_SEED)
    train = _limited(whole, limit, seed)
    calibration = test
    if not in_turns:
        fewest = MIN_OF_TWO if source.test is None and train is whole else MIN_CALIBRATION
        fewest = min(fewest, len(train) // 4)
        train, calibration = _hold_out(train, _calibration_counts(train, fewest), seed, "calibration")
    if len(train.labels.unique()) < 2:
        cause = "" if limit is None else f"; the limit of {limit} leaves too few"
        raise DataError(f"the training set must have images of at least two classes{cause}")
    pixels = Pixels.of(train.pixels)
    ood_sets = {ood_name: images[:limit] for ood_name, images in load_ood_sets(pixels, folder).items()}
    return Dataset(name, source.classes, pixels, train, calibration, test, ood_sets)


def _limited(images: Images, limit: int | None, seed: int) -> Images:
    """Return `limit` images, or all if there are fewer; a smaller limit of the same seed gives a subset."""
    if limit is None or limit >= len(images):
        return images
    return _hold_out(images, _quotas(images, limit), seed, "limit")[1]


def _shares(images: Images, share: float) -> list[int]:
    """Return the number of images that is `share` of each class, at least one."""
    return [max(1, round(share * count)) for count in _counts(images)]


def _calibration_counts(images: Images, fewest: int) -> list[int]:
    """Return how many images of each class calibrate: their share, or more where that would be too few."""
    counts = _shares(images, CALIBRATION_SHARE)
    return counts if sum(counts) >= fewest else _quotas(images, fewest)


def _quotas(images: Images, total: int) -> list[int]:
    """Divide `total` images over the classes: one each if possible, the rest in proportion."""
    counts = _counts(images)
    least = 1 if total >= len(counts) else 0
    spare = [count - least for count in counts]
    exact = [(total - least * len(counts)) * each / sum(spare) for each in spare]
    quotas = [least + int(each) for each in exact]
    for place in sorted(range(len(counts)), key=lambda place: int(exact[place]) - exact[place])[: total - sum(quotas)]:
        quotas[place] += 1  # largest remainders first
    return quotas


def _counts(images: Images) -> list[int]:
    """Count the images of each class that has any."""
    return [int(count) for count in images.labels.unique(return_counts=True)[1]]


def _hold_out(images: Images, counts: list[int], seed: int, purpose: str) -> tuple[Images, Images]:
    """Return two disjoint parts: the rest, and `counts` random images of each class."""
    generator = generator_for(seed, purpose)
    held: list[Tensor] = []
    for label, count in zip(images.labels.unique(), counts, strict=True):
        of_class = (images.labels == label).nonzero().squeeze(1)
        held.append(of_class[torch.randperm(len(of_class), generator=generator)[:count]])
    index = torch.cat(held).sort().values
    left = torch.ones(len(images), dtype=torch.bool)
    left[index] = False
    return images[left], images[index]
