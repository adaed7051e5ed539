"""Images and labels, by name. One file a data set, built alike: the source, `load(folder)`.

images                what every data set becomes
digits                scikit-learn's digits, in its wheel
cifar10               CIFAR-10 in its binary or python layout, which can be downloaded
folder                pictures of one's own, one folder a class
picture               one picture file, read as people see it
archive               downloads that are checked, and go on where they broke
pickles               the restricted unpickler that the python layout needs
split                 train, calibration and test
augmentation          how training images are varied, by name
geometry              what moves pixels: shifts, mirror images, warps, squares cut out
photometry            what changes their values
out_of_distribution   images that are none of the classes
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data import cifar10, digits
from training.data import image_folder as folder
from training.data.dataset import Dataset, Source
from training.data.split import split
from training.errors import DataError

SOURCES: dict[str, Callable[[Path | None], Source]] = {
    "digits": digits.load,
    "cifar10": cifar10.load,
    "folder": folder.load,
}
# Those that come in no size of their own, and those that can be fetched.
RESIZABLE: dict[str, Callable[..., Source]] = {"folder": folder.load}
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
    """The data set called `name` in `folder`, split with `seed`.

    `limit` keeps that many of the images to train on, and at most as many of every other set. `download` fetches what
    is not there yet, into DOWNLOAD_FOLDER where no folder is given. `image_size` is the side of the images of a set
    that has none of its own. A quiet load shows no progress while it reads.

    Raises DataError for an unknown name, listing what there is, and for data that are missing, damaged or unfit.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}: there is {', '.join(SOURCES)}")
    if download:
        folder = _downloaded(name, folder)
    try:
        return split(name, _source(name, folder, image_size, quiet), seed=seed, limit=limit, folder=folder)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror}") from error


def _downloaded(name: str, folder: Path | None) -> Path:
    if name not in DOWNLOADS:
        raise DataError(f"{name} cannot be downloaded: only {', '.join(DOWNLOADS)} can")
    place = DOWNLOAD_FOLDER if folder is None else folder
    DOWNLOADS[name](place)
    return place


def _source(name: str, folder: Path | None, image_size: int | None, quiet: bool) -> Source:
    if name in RESIZABLE:
        return RESIZABLE[name](folder, image_size, quiet=quiet)
    if image_size is not None:
        raise DataError(f"{name} has images of one size: an image size is only for {', '.join(RESIZABLE)}")
    return SOURCES[name](folder)
