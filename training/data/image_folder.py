"""Load a folder of pictures of any size, with one folder per class: ROOT/CLASS/PICTURE, or deeper in a class.

If ROOT holds exactly `train` and `test`, both with folders of the same classes, that split is used. Pictures are
decoded as by the service. All that cannot be read are named in one error; files that are no pictures are left out, and
counted. TIFF is read here whether a service reads it or not: these pictures are one's own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_store.images import (
    READ_FORMATS,
    READ_SUFFIXES,
    FolderError,
    ImageError,
    files_below,
    is_picture,
    open_image,
    visible,
)
from model_store.text import is_text, printable
from training.data.dataset import Images, Source
from training.errors import DataError
from training.progress import Stage

MAX_PIXELS = 16_777_216
DEFAULT_SIDE, ALLOWED_SIDES = 32, range(8, 513)
SPLIT_NAMES = ("train", "test")
# Minimum pictures per class and folder, so that training, calibration and test set get one each.
MIN_PICTURES, MIN_PICTURES_OFFICIAL = (3,), (2, 1)
FILES_PER_TASK = 32
# Names in messages; the rest is counted.
MAX_NAMES = 10

Classes = dict[str, list[Path]]


class Picture(NamedTuple):
    """Pixels uint8 [side, side, 3], and what the file held: its format, width and height, and whether it is grey."""

    pixels: npt.NDArray[np.uint8]
    format: str
    size: tuple[int, int]
    is_grey: bool


class Square(NamedTuple):
    """Shape to decode to: grey is three equal channels until it is known that all pictures are grey."""

    height: int
    width: int
    channels: int = 3


def load(folder: Path | None, side: int | None = None, *, quiet: bool = False) -> Source:
    """Read every picture as a square of `side` pixels (default 32); sort classes and pictures by name.

    Images have one channel if every picture is grey, else three. A quiet load shows no progress. Raises DataError for
    fewer than two classes, a class whose name is not text, too few pictures of a class, and pictures that cannot be
    read, all of which it lists.
    """
    if folder is None:
        raise DataError("folder needs --data-dir: a folder with one folder of pictures for each class")
    side = DEFAULT_SIDE if side is None else side
    if side not in ALLOWED_SIDES:
        raise DataError(f"the image size must be {ALLOWED_SIDES[0]} to {ALLOWED_SIDES[-1]} pixels, got {side}")
    left_out: list[Path] = []
    try:
        parts = {root: _files_of_classes(root, left_out) for root in _class_roots(folder)}
    except FolderError as error:
        raise DataError(f"{printable(error.folder)} {error.problem}") from error
    _check_classes(folder, parts)
    classes, *_ = parts.values()
    labels = [_labels(part) for part in parts.values()]
    files = [file for part in parts.values() for files in part.values() for file in files]
    with Stage("reading pictures", len(files), quiet=quiet) as stage:
        if left_out:
            names = _listed([printable(file) for file in left_out])
            _tell(stage, f"left out, since no pictures of a class: {len(left_out):,} files{names}")
        pixels = _read_all(files, side, stage)
    images = map(Images, pixels.split([len(part) for part in labels]), labels)
    return Source(tuple(classes), *images)


def _class_roots(folder: Path) -> list[Path]:
    """Return the folders that hold class folders: `folder` itself, or its `train` and `test`."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {printable(folder)}")
    roots = [folder / part for part in SPLIT_NAMES]
    official = {inside.name for inside in _folders(folder)} == set(SPLIT_NAMES) and all(map(_folders, roots))
    if not official:
        _check_no_split(folder)
    return roots if official else [folder]


def _check_no_split(folder: Path) -> None:
    """Raise DataError if the folders in this one hold the same folders: these are the classes then."""
    inside = [{each.name for each in _folders(root)} for root in _folders(folder) if not _pictures_in(root)]
    if len(inside) > 1 and len(inside[0]) > 1 and len(inside) == len(_folders(folder)) and inside.count(inside[0]) > 1:
        names = ", ".join(sorted(printable(root.name) for root in _folders(folder)))
        same = ", ".join(sorted(map(printable, inside[0]))[:MAX_NAMES])
        raise DataError(
            f"{printable(folder)} holds {names}, and these hold the same folders, {same}: "
            f"expected a folder for each class, or exactly {' and '.join(SPLIT_NAMES)}, each with such"
        )


def _pictures_in(folder: Path) -> list[Path]:
    return [inside for inside in visible(folder) if inside.suffix.lower() in READ_SUFFIXES]


def _files_of_classes(root: Path, left_out: list[Path]) -> Classes:
    """Return the pictures of each class folder of `root`, sorted by name; add to `left_out` what lies elsewhere."""
    left_out += _pictures_in(root)
    classes = Classes()
    for folder in _folders(root):
        if not is_text(folder.name):
            raise DataError(f"the class {printable(folder)} needs a name in UTF-8, without control characters")
        files = sorted(files_below(folder))
        pictures = [file for file in files if is_picture(file)]
        left_out += sorted({*files} - {*pictures})
        classes[folder.name] = pictures
    return classes


def _folders(folder: Path) -> list[Path]:
    return [inside for inside in visible(folder) if inside.is_dir()]


def _check_classes(folder: Path, parts: dict[Path, Classes]) -> None:
    classes, *others = map(set, parts.values())
    for other in others:
        if odd := sorted(classes ^ other):
            raise DataError(
                f"train and test in {printable(folder)} must hold the same classes: only one has {', '.join(odd)}"
            )
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise DataError(f"{printable(folder)} must hold at least two folders, one for each class: found {found}")
    for (root, part), fewest in zip(parts.items(), MIN_PICTURES_OFFICIAL if others else MIN_PICTURES, strict=True):
        for name, files in part.items():
            if len(files) < fewest:
                expected = f"expected at least {fewest}, ending in {', '.join(READ_SUFFIXES)}"
                raise DataError(f"the class {printable(root / name)} has too few pictures, {len(files)}: {expected}")


def _labels(part: Classes) -> Tensor:
    """Return the class index of each picture, int64 [N]."""
    return torch.arange(len(part)).repeat_interleave(torch.tensor([len(files) for files in part.values()]))


def _read_all(files: list[Path], side: int, stage: Stage) -> Tensor:
    """Decode all files to uint8 [N, side, side, C] in several threads, since decoding releases the GIL."""
    pixels = np.empty((len(files), side, side, 3), np.uint8)
    pictures = dict[int, Picture]()
    problems = dict[int, str]()

    def read(start: int) -> int:
        chunk = files[start : start + FILES_PER_TASK]
        for number, file in enumerate(chunk, start):
            try:
                picture = read_picture(file, side)
                pixels[number] = picture.pixels
                pictures[number] = picture._replace(pixels=pixels[number])
            except DataError as error:
                problems[number] = str(error)
        return len(chunk)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for count in pool.map(read, range(0, len(files), FILES_PER_TASK)):
            stage.advance(count, f"{stage.done + count:,} pictures")
    if problems:
        found = [problems[number] for number in sorted(problems)]
        raise DataError(f"{len(found):,} of {len(files):,} pictures cannot be read:{_listed(found)}")
    _tell(stage, describe_pictures(list(pictures.values()), side))
    only_grey = all(picture.is_grey for picture in pictures.values())
    return torch.from_numpy(np.ascontiguousarray(pixels[..., :1]) if only_grey else pixels)


def describe_pictures(pictures: Sequence[Picture], side: int) -> str:
    """Say how many pictures there are of which format, size and colour, and what becomes of them."""
    formats = ", ".join(f"{count:,} {name}" for name, count in Counter(each.format for each in pictures).most_common())
    smallest, largest = (choose((each.size for each in pictures), key=prod) for choose in (min, max))
    greys, small = sum(each.is_grey for each in pictures), sum(min(each.size) < side for each in pictures)
    text = f"{len(pictures):,} pictures ({formats}), {_by(smallest)} to {_by(largest)} pixels, made {side} x {side}"
    if 0 < greys < len(pictures):
        text += f"; {greys:,} grey ones are taken as colour"
    return f"{text}; {small:,} smaller ones are enlarged" if small else text


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"


def read_picture(file: Path, side: int) -> Picture:
    """Read a picture as a square of `side` pixels; raise DataError, naming the file."""
    name = printable(file)
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise DataError(f"{name} is no regular file")
    try:
        opened = open_image(file.read_bytes(), Square(side, side), formats=READ_FORMATS, max_pixels=MAX_PIXELS)
        return Picture(opened.decode(), opened.format, opened.full_size, opened.is_grey)
    except ImageError as error:
        raise DataError(f"{name} {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}") from error


def _tell(stage: Stage, text: str) -> None:
    if not stage.quiet:
        stage.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _listed(lines: list[str]) -> str:
    """Return the first lines, and how many more there are."""
    more = f"\n  and {len(lines) - MAX_NAMES:,} more" if len(lines) > MAX_NAMES else ""
    return "".join(f"\n  {line}" for line in lines[:MAX_NAMES]) + more
