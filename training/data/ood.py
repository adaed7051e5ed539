"""Load out-of-distribution (OOD) images in the shape of a data set.

noise    values drawn uniformly
blank    images of one colour each, black and white among them
crops    crops of the two photographs in scikit-learn's wheel, upside down, so that no object is in its usual pose
NAME     the images of each file NAME-ood.npz in the data set's folder
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_store.text import is_text, printable
from training.data.dataset import Pixels
from training.data.digits import sklearn_file
from training.errors import DataError
from training.randomness import seed_for

IMAGES_PER_SET = 500
CROP_SIDE = 96
PHOTOGRAPHS = ("china", "flower")
SUFFIX = "-ood.npz"
MAX_FILE_IMAGES = 10_000
# Parts of every data set, whose names OOD sets must not take.
SPLIT_NAMES = ("train", "calibration", "test")


def load_ood_sets(pixels: Pixels, folder: Path | None = None) -> dict[str, Tensor]:
    """Return OOD sets, uint8 [N, H, W, C] by name, the same in each run.

    Generated sets have `IMAGES_PER_SET` images, sets from a file in `folder` up to `MAX_FILE_IMAGES`. Raises DataError,
    naming the file, where its images are missing, damaged or of another shape.
    """
    sets = {"noise": _noise(pixels), "blank": _blank(pixels), "crops": _crops(pixels)}
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder is not None else []
    for path in (file for file in files if not file.name.startswith(".")):
        name = path.name.removesuffix(SUFFIX)
        if not is_text(name):
            raise DataError(f"{printable(path)} needs a name in UTF-8, without control characters")
        if name in (*sets, *SPLIT_NAMES, ""):
            raise DataError(f"{path} needs another name: {name!r} is taken")
        sets[name] = _from_file(path, pixels)
    return sets


def _from_file(path: Path, pixels: Pixels) -> Tensor:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images = arrays["images"]
    except KeyError as error:
        raise DataError(f"{path} must hold an array `images`") from error
    except Exception as error:  # damaged bytes raise almost anything
        raise DataError(f"{path} is damaged or not an archive of arrays: {error}") from error
    shape = (pixels.height, pixels.width, pixels.channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) == 0:
        found = f"{images.dtype} {list(images.shape)}"
        raise DataError(f"the images of {path} must be uint8 [N, {', '.join(map(str, shape))}], found {found}")
    return torch.from_numpy(np.ascontiguousarray(images[:MAX_FILE_IMAGES]))


def _noise(pixels: Pixels) -> Tensor:
    generator = np.random.default_rng(seed_for(0, "noise images"))
    shape = (IMAGES_PER_SET, pixels.height, pixels.width, pixels.channels)
    return torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))


def _blank(pixels: Pixels) -> Tensor:
    generator = np.random.default_rng(seed_for(0, "blank images"))
    colours = generator.integers(0, 256, (IMAGES_PER_SET, 1, 1, pixels.channels), dtype=np.uint8)
    colours[0], colours[1] = 0, 255
    return torch.from_numpy(colours).repeat(1, pixels.height, pixels.width, 1)


def _crops(pixels: Pixels) -> Tensor:
    generator = np.random.default_rng(seed_for(0, "crops"))
    photographs = [Image.open(sklearn_file(f"images/{name}.jpg")) for name in PHOTOGRAPHS]
    crops = []
    for number in range(IMAGES_PER_SET):
        photograph = photographs[number % len(photographs)]
        left = int(generator.integers(0, photograph.width - CROP_SIDE))
        top = int(generator.integers(0, photograph.height - CROP_SIDE))
        crop = photograph.crop((left, top, left + CROP_SIDE, top + CROP_SIDE)).transpose(Image.Transpose.ROTATE_180)
        small = crop.convert("L" if pixels.channels == 1 else "RGB").resize((pixels.width, pixels.height))
        crops.append(np.asarray(small).reshape(pixels.height, pixels.width, pixels.channels))
    return torch.from_numpy(np.stack(crops))
