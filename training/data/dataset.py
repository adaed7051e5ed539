"""Data types of every data set: uint8 images as decoded, int64 labels, and statistics for normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from training.errors import DataError
from training.randomness import generator_for

# Parts of held-out images that are tested in turns.
MAX_FOLDS = 10


@dataclass(frozen=True)
class Images:
    """Labelled images: `pixels` uint8 [N, H, W, C], `labels` int64 [N]."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> Images:
        return Images(self.pixels[index], self.labels[index])

    def spread(self, count: int) -> Images:
        """Return at most `count` images, evenly spaced, since they may be sorted by class."""
        if count >= len(self):
            return self
        return self[torch.arange(count) * len(self) // count]


@dataclass(frozen=True)
class Source:
    """A data set as published; `test` is None without an official split."""

    classes: tuple[str, ...]
    train: Images
    test: Images | None = None

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            if part is not None and len(part) and not 0 <= part.labels.min() <= part.labels.max() < len(self.classes):
                raise DataError(f"labels must lie in 0 to {len(self.classes) - 1}")


@dataclass(frozen=True)
class Pixels:
    """Shape of one image, and mean and standard deviation of each channel over the training set, in [0, 1]."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, pixels_NHWC: Tensor) -> Pixels:
        """Measure the statistics of a training set, uint8 [N, H, W, C]."""
        _, height, width, channels = pixels_NHWC.shape
        # From counts of the 256 values: a data set as float64 would be eight times as large.
        counts = torch.stack([pixels_NHWC[..., c].flatten().bincount(minlength=256) for c in range(channels)]).double()
        shares, values = counts / counts.sum(1, keepdim=True), torch.arange(256) / 255
        mean = (shares * values).sum(1)
        std = ((shares * values.square()).sum(1) - mean.square()).clamp_min(1e-6).sqrt()
        return cls(height, width, channels, tuple(mean.tolist()), tuple(std.tolist()))

    def normalise(self, pixels_NHWC: Tensor) -> Tensor:
        """Normalise uint8 [N, H, W, C] to float32 [N, C, H, W], channels last in memory."""
        factor, shift = _affine(self, pixels_NHWC.device)
        return torch.addcmul(shift, pixels_NHWC.float(), factor).permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
def _affine(pixels: Pixels, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return factor and shift [C] such that value·factor + shift is (value / 255 - mean) / std."""
    mean, std = (torch.tensor(each, dtype=torch.float64) for each in (pixels.mean, pixels.std))
    return (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)


@dataclass(frozen=True)
class Turn:
    """Images of the test set, by index int64 [N], and those of the calibration set that what is tested comes from."""

    tested: Tensor
    calibrating: Tensor


@dataclass(frozen=True)
class Dataset:
    """Three disjoint parts of a data set, and its OOD sets uint8 [N, H, W, C] by name.

    In a small data set the test images are the calibration images too: then `turns` says which may calibrate for which.
    """

    name: str
    classes: tuple[str, ...]
    pixels: Pixels
    train: Images
    calibration: Images
    test: Images
    out_of_distribution: dict[str, Tensor]

    @property
    def in_turns(self) -> bool:
        """Return whether the test images are the calibration images too."""
        return self.calibration is self.test

    @cached_property
    def turns(self) -> list[Turn]:
        """Divide the test images into parts, of which each is tested with what calibration images outside it say.

        Where the two sets are disjoint there is one turn of all. Otherwise there are `MAX_FOLDS` at most, each with its
        share of every class: cross-fitting, so that no image is tested with what it has calibrated.
        """
        count = len(self.test)
        if not self.in_turns:
            return [Turn(torch.arange(count), torch.arange(len(self.calibration)))]
        mixed_N = torch.randperm(count, generator=generator_for(0, "folds"))
        order_N = mixed_N[self.test.labels[mixed_N].argsort(stable=True)]
        folds = min(MAX_FOLDS, count)
        return [
            Turn(order_N[fold::folds].sort().values, order_N[torch.arange(count) % folds != fold].sort().values)
            for fold in range(folds)
        ]
