"""Say what a data set holds, how it is split, and what its images are too few for."""

from __future__ import annotations

import torch

from model_store.small_samples import ALPHAS, images_needed, interval_text
from training.data.dataset import Dataset
from training.data.split import HELD_OUT_SHARE

# Classes that are named; the others are counted.
MAX_CLASSES = 10
# Test images from which the interval of an accuracy is no surprise, and an accuracy to give that of fewer for.
ENOUGH_TEST_IMAGES, EXAMPLE_ACCURACY = 1_000, 0.9
# Training images below which a network from scratch rarely learns what it could.
ENOUGH_TRAINING_IMAGES = 500


def describe(dataset: Dataset, *, from_scratch: bool) -> list[str]:
    """Describe images by class, the split, and what is too few for what, such as a network from scratch, in lines."""
    train, test, calibration = len(dataset.train), len(dataset.test), len(dataset.calibration)
    if dataset.in_turns:
        split = f"{train:,} to train on, {test:,} held out, each tested with what the others calibrate"
    else:
        split = f"{train:,} to train on, {calibration:,} to calibrate on, {test:,} to test on"
    total = train + test + (0 if dataset.in_turns else calibration)
    lines = [f"{dataset.name}: {total:,} images of {len(dataset.classes):,} classes ({_classes(dataset)}): {split}"]
    if from_scratch and train < ENOUGH_TRAINING_IMAGES:
        lines.append(
            f"{train:,} images are few to train a network from scratch: --arch efficientnet_lite0 --pretrained, or "
            "--init-from, starts from a trained one"
        )
    if test < ENOUGH_TEST_IMAGES:
        known = interval_text(EXAMPLE_ACCURACY, test)
        lines.append(f"{test:,} test images are few: an accuracy of {EXAMPLE_ACCURACY:.0%} is known to lie in {known}")
    if missing := [alpha for alpha in ALPHAS if images_needed(alpha) > calibration]:
        taken = ", ".join(f"{alpha:.0%} takes {_needed(alpha, dataset)}" for alpha in missing)
        lines.append(f"{calibration:,} calibration images are too few for prediction sets of some error rates: {taken}")
    return lines


def _classes(dataset: Dataset) -> str:
    """Name classes with their images, the sets together."""
    parts = [dataset.train, dataset.test] + ([] if dataset.in_turns else [dataset.calibration])
    counts = torch.cat([part.labels for part in parts]).bincount(minlength=len(dataset.classes)).tolist()
    named = [f"{name} {count:,}" for name, count in zip(dataset.classes[:MAX_CLASSES], counts, strict=False)]
    if others := counts[MAX_CLASSES:]:
        named.append(f"and {len(others):,} more of {min(others):,} to {max(others):,}")
    return ", ".join(named)


def _needed(alpha: float, dataset: Dataset) -> str:
    """Return how many calibration images sets take, and how many images in all where a share of them is held out."""
    needed = images_needed(alpha)
    return f"{needed:,}, some {round(needed / HELD_OUT_SHARE):,} images in all" if dataset.in_turns else f"{needed:,}"
