"""Data types of every data set: uint8 images as decoded, int64 labels, and statistics for normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from training.data.augmentation import Augmentation, augmentation
from training.errors import DataError


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
class Dataset:
    """Three disjoint parts of a data set, and its OOD sets uint8 [N, H, W, C] by name."""

    name: str
    classes: tuple[str, ...]
    pixels: Pixels
    train: Images
    calibration: Images
    test: Images
    out_of_distribution: dict[str, Tensor]

    def augmentation(self, name: str) -> Augmentation:
        """Return the augmentation of training images called `name`; raise RecipeError for an unknown name."""
        return augmentation(name)
