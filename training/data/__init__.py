"""Load data sets by name. Each data set's file has the source and `load(folder)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model_store.text import written_name
from training.data import cifar10, digits, image_folder
from training.data.dataset import Dataset, Source
from training.data.split import split
from training.errors import DataError

SOURCES: dict[str, Callable[[Path | None], Source]] = {
    "digits": digits.load,
    "cifar10": cifar10.load,
    "folder": image_folder.load,
}
# Data sets with images of any size, which are resized, and data sets that can be downloaded.
RESIZABLE: dict[str, Callable[..., Source]] = {"folder": image_folder.load}
DOWNLOADS: dict[str, Callable[[Path], None]] = {"cifar10": cifar10.download}
DOWNLOAD_FOLDER = Path("data")


def load_dataset(
    name: str,
    folder: Path | None,
    *,
    seed: int,
    limit: int | None = None,
    download: bool = False,
    image_size: int | None = None,
    quiet: bool = False,
) -> Dataset:
    """Load the data set called `name` from `folder`, split with `seed`.

    `limit` keeps that many training images, and at most as many of every other set. `download` fetches missing data,
    into DOWNLOAD_FOLDER if no folder is given. `image_size` is the side of resized images, for data sets of pictures of
    any size. A quiet load shows no progress.

    Raises DataError for an unknown name, listing the known ones, and for data that are missing, damaged or unfit.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}: there is {', '.join(SOURCES)}")
    if download:
        if name not in DOWNLOADS:
            raise DataError(f"{name} cannot be downloaded: only {', '.join(DOWNLOADS)} can")
        folder = DOWNLOAD_FOLDER if folder is None else folder
        DOWNLOADS[name](folder)
    try:
        return split(name, _source(name, folder, image_size, quiet), seed=seed, limit=limit, folder=folder)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror}") from error


def data_name(name: str, folder: Path | None) -> str:
    """Return the name of a data set, or that of the folder where it is one of pictures of one's own."""
    return written_name(folder.resolve().name) or name if name in RESIZABLE and folder is not None else name


def _source(name: str, folder: Path | None, image_size: int | None, quiet: bool) -> Source:
    if name in RESIZABLE:
        return RESIZABLE[name](folder, image_size, quiet=quiet)
    if image_size is not None:
        raise DataError(f"{name} has images of one size: an image size is only for {', '.join(RESIZABLE)}")
    return SOURCES[name](folder)
