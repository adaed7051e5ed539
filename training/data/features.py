"""Features of images under frozen layers, in place of the images: computed once, they make training a head cheap.

A training image has V augmented views, of which each step takes one at random; others have one. Features are float32
[N, V, …], or [N, …] of one view each after augmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from training.data.augmentation import Augmentation, augmentation
from training.data.dataset import Dataset, Images, Pixels
from training.errors import RecipeError
from training.progress import Stage
from training.randomness import generator_for

# Views of all training images together, and of one at most.
MAX_VIEWS, MAX_VIEWS_OF_IMAGE = 4_000, 8
MAX_BYTES = 4 << 30
BATCH_SIZE = 32


@dataclass(frozen=True)
class Features(Pixels):
    """Statistics of the images behind features, which are normalised already."""

    def normalise(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the features of each image's first view."""
        return pixels_NHWC[:, 0]


@dataclass(frozen=True)
class FeatureDataset(Dataset):
    """A data set of features; `augmentation` made their views, so that a step's takes one of them."""

    def augmentation(self, name: str) -> Augmentation:
        """Return the choice of a view, whatever augmentation made them."""
        return one_view


def one_view(features_NV: Tensor, generator: Generator) -> Tensor:
    """Choose a view of each image at random: features [N, V, …] to [N, 1, …]."""
    count, views = features_NV.shape[:2]
    view_N = torch.randint(views, (count,), generator=generator)
    return features_NV[torch.arange(count), view_N][:, None]


def features_of(dataset: Dataset, frozen: nn.Module, augment: str, seed: int, *, quiet: bool = False) -> FeatureDataset:
    """Compute the features of all images under `frozen`, which maps normalised images; views follow from the seed.

    Raises RecipeError if they take more than 4 GiB.
    """
    frozen.eval()
    count = views_of_image(len(dataset.train), augment)
    others = {"test": dataset.test} if dataset.in_turns else {"test": dataset.test, "calibration": dataset.calibration}
    total = count * len(dataset.train) + sum(map(len, others.values()))
    _check_size(_apply(frozen, dataset.pixels, dataset.train.pixels[:1]), total)
    with Stage("computing features", total, quiet=quiet) as stage:

        def compute(images: Images, of: Callable[[Tensor], Tensor] = lambda pixels: pixels) -> Tensor:
            parts = []
            for pixels_NHWC in images.pixels.split(BATCH_SIZE):
                parts.append(_apply(frozen, dataset.pixels, of(pixels_NHWC)))
                stage.advance(len(pixels_NHWC), "")
            return torch.cat(parts)

        change, generator = augmentation(augment), generator_for(seed, "views")
        views = [compute(dataset.train)]
        views += [compute(dataset.train, lambda pixels: change(pixels, generator)) for _ in range(count - 1)]
        computed = {name: Images(compute(images)[:, None], images.labels) for name, images in others.items()}
    own = dataset.pixels
    return FeatureDataset(
        dataset.name,
        dataset.classes,
        Features(own.height, own.width, own.channels, own.mean, own.std),
        Images(torch.stack(views, 1), dataset.train.labels),
        computed.get("calibration", computed["test"]),
        computed["test"],
        {},
    )


def views_of_image(images: int, augment: str) -> int:
    """Return the views of each of so many training images: the image as it is, and augmented ones of few images."""
    return 1 if augment == "none" else max(1, min(MAX_VIEWS_OF_IMAGE, MAX_VIEWS // images))


@torch.no_grad()
def _apply(frozen: nn.Module, pixels: Pixels, pixels_NHWC: Tensor) -> Tensor:
    features: Tensor = frozen(pixels.normalise(pixels_NHWC))
    return features


def _check_size(one: Tensor, count: int) -> None:
    size = count * one.numel() * one.element_size()
    if size > MAX_BYTES:
        raise RecipeError(
            f"features of {count:,} images take {size / 2**30:.1f} GiB, expected at most {MAX_BYTES >> 30}: "
            "lower --image-size, or --trained last:N for a smaller N"
        )
