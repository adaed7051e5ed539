"""Images that are none of the classes, in the shape of a data set's own: uniform noise, and crops of photographs.

The photographs are the two in scikit-learn's wheel. Crops are turned upside down, so that nothing in them stands
the way a camera sees it.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from training.data.images import Pixels
from training.randomness import seed_for

COUNT = 500
CROP_SIDE = 96


def out_of_distribution(pixels: Pixels) -> dict[str, Tensor]:
    """Sets of `COUNT` images uint8 [N, H, W, C], by name; the same in each run."""
    return {"noise": _noise(pixels), "crops": _crops(pixels)}


def _noise(pixels: Pixels) -> Tensor:
    generator = np.random.default_rng(seed_for(0, "noise images"))
    shape = (COUNT, pixels.height, pixels.width, pixels.channels)
    return torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))


def _crops(pixels: Pixels) -> Tensor:
    generator = np.random.default_rng(seed_for(0, "crops"))
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    crops = []
    for number in range(COUNT):
        photograph = photographs[number % len(photographs)]
        left = int(generator.integers(0, photograph.width - CROP_SIDE))
        top = int(generator.integers(0, photograph.height - CROP_SIDE))
        crop = photograph.crop((left, top, left + CROP_SIDE, top + CROP_SIDE)).transpose(Image.Transpose.ROTATE_180)
        small = crop.convert("L" if pixels.channels == 1 else "RGB").resize((pixels.width, pixels.height))
        crops.append(np.asarray(small).reshape(pixels.height, pixels.width, pixels.channels))
    return torch.from_numpy(np.stack(crops))
