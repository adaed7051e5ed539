"""Load a folder of pictures of any size, with one folder per class: ROOT/CLASS/PICTURE.

If ROOT holds exactly `train` and `test`, both with folders of the same classes, that split is used.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import Images, Source
from training.data.decode import decode_image, without_pillow_limit
from training.errors import DataError
from training.progress import Stage

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
DEFAULT_SIDE, ALLOWED_SIDES = 32, range(8, 513)
SPLIT_NAMES = ("train", "test")
# Minimum pictures per class and folder, so that training, calibration and test set get one each.
MIN_PICTURES, MIN_PICTURES_OFFICIAL = (3,), (2, 1)
FILES_PER_TASK = 32

Classes = dict[str, list[Path]]


def load(folder: Path | None, side: int | None = None, *, quiet: bool = False) -> Source:
    """Read every picture as a square of `side` pixels (default 32); sort classes and pictures by name.

    A quiet load shows no progress. Raises DataError for fewer than two classes, too few pictures of a class, a picture
    that cannot be read, and a mix of grey and colour pictures.
    """
    if folder is None:
        raise DataError("folder needs --data-dir: a folder with one folder of pictures for each class")
    side = DEFAULT_SIDE if side is None else side
    if side not in ALLOWED_SIDES:
        raise DataError(f"the image size must be {ALLOWED_SIDES[0]} to {ALLOWED_SIDES[-1]} pixels, got {side}")
    parts = {root: _files_of_classes(root) for root in _class_roots(folder)}
    _check_classes(folder, parts)
    classes, *_ = parts.values()
    labels = [_labels(part) for part in parts.values()]
    pixels = _read_all([file for part in parts.values() for files in part.values() for file in files], side, quiet)
    images = map(Images, pixels.split([len(part) for part in labels]), labels)
    return Source(tuple(classes), *images)


def _class_roots(folder: Path) -> list[Path]:
    """Return the folders that hold class folders: `folder` itself, or its `train` and `test`."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    roots = [folder / part for part in SPLIT_NAMES]
    official = {inside.name for inside in _folders(folder)} == set(SPLIT_NAMES) and all(map(_folders, roots))
    return roots if official else [folder]


def _files_of_classes(root: Path) -> Classes:
    """Return the pictures of each class folder of `root`, sorted by name."""
    return {each.name: [file for file in _visible(each) if file.suffix.lower() in SUFFIXES] for each in _folders(root)}


def _folders(folder: Path) -> list[Path]:
    return [inside for inside in _visible(folder) if inside.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, sorted by name."""
    try:
        return sorted(inside for inside in folder.iterdir() if not inside.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error


def _check_classes(folder: Path, parts: dict[Path, Classes]) -> None:
    classes, *others = map(set, parts.values())
    for other in others:
        if odd := sorted(classes ^ other):
            raise DataError(f"train and test in {folder} must hold the same classes: only one has {', '.join(odd)}")
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise DataError(f"{folder} must hold at least two folders, one for each class: found {found}")
    for (root, part), fewest in zip(parts.items(), MIN_PICTURES_OFFICIAL if others else MIN_PICTURES, strict=True):
        for name, files in part.items():
            if len(files) < fewest:
                expected = f"expected at least {fewest}, ending in {', '.join(SUFFIXES)}"
                raise DataError(f"the class {root / name} has too few pictures, {len(files)}: {expected}")


def _labels(part: Classes) -> Tensor:
    """Return the class index of each picture, int64 [N]."""
    return torch.arange(len(part)).repeat_interleave(torch.tensor([len(files) for files in part.values()]))


def _read_all(files: list[Path], side: int, quiet: bool) -> Tensor:
    """Decode all files to uint8 [N, side, side, C] in several threads, since decoding releases the GIL."""
    with warnings.catch_warnings(), without_pillow_limit(), Stage("reading pictures", len(files), quiet=quiet) as stage:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about metadata that is not read
        channels = decode_image(files[0], side).shape[-1]
        pixels = np.empty((len(files), side, side, channels), np.uint8)

        def read(start: int) -> int:
            chunk = files[start : start + FILES_PER_TASK]
            for number, file in enumerate(chunk, start):
                picture = decode_image(file, side)
                if picture.shape[-1] != channels:
                    raise DataError(_mixed(files[0], file, channels))
                pixels[number] = picture
            return len(chunk)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for count in pool.map(read, range(0, len(files), FILES_PER_TASK)):
                stage.advance(count, f"{stage.done + count:,} pictures")
    return torch.from_numpy(pixels)


def _mixed(first: Path, other: Path, channels: int) -> str:
    grey, colour = (first, other) if channels == 1 else (other, first)
    return f"{grey} is grey but {colour} is in colour: save all pictures as one or the other"
