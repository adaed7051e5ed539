"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 pixels (Krizhevsky 2009), in its binary or python layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from training.data.dataset import Images, Source
from training.data.download import RemoteArchive, fetch
from training.data.safe_pickle import load_plain_pickle
from training.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
BINARY_FOLDER, PYTHON_FOLDER = "cifar-10-batches-bin", "cifar-10-batches-py"
IMAGES_PER_FILE = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32

ARCHIVE = RemoteArchive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size_bytes=170_052_171,
    root=BINARY_FOLDER,
    files=tuple(f"{name}.bin" for name in (*TRAIN_FILES, TEST_FILE)),
)

Read = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def download(folder: Path) -> None:
    """Fetch the binary layout into `folder`, unless either layout is there; raise DataError where that fails."""
    if _found(folder) is None:
        fetch(ARCHIVE, folder)


def load(folder: Path | None) -> Source:
    """Read either layout from `folder`, or from the publisher's folder inside it; raise DataError if damaged."""
    if folder is None:
        raise DataError("cifar10 needs --data-dir: the folder with the unpacked archive; --download fetches it")
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; --download fetches CIFAR-10 into it")
    found = _found(folder)
    if found is None:
        expected = f"expected {TEST_FILE}.bin or {TEST_FILE}, there or in {BINARY_FOLDER}"
        raise DataError(f"no CIFAR-10 in {folder}: {expected}; --download fetches it")
    return _source(*found)


def _found(folder: Path) -> tuple[list[Path], Read] | None:
    """Return the files, the test file last, and the function that reads them; None if there are none."""
    for place in (folder, folder / BINARY_FOLDER, folder / PYTHON_FOLDER):
        if (place / f"{TEST_FILE}.bin").exists():
            return [place / f"{name}.bin" for name in (*TRAIN_FILES, TEST_FILE)], _read_binary
        if (place / TEST_FILE).exists():
            return [place / name for name in (*TRAIN_FILES, TEST_FILE)], _read_python
    return None


def _source(paths: list[Path], read: Read) -> Source:
    parts = []
    for path in paths:
        try:
            planes, labels = read(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        parts.append(Images(_to_pixels(path, planes, labels), torch.from_numpy(labels.astype(np.int64))))
    train = Images(torch.cat([p.pixels for p in parts[:-1]]), torch.cat([p.labels for p in parts[:-1]]))
    return Source(CLASSES, train, parts[-1])


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if len(data) != IMAGES_PER_FILE * RECORD_BYTES:
        raise DataError(f"{path} is damaged: expected {IMAGES_PER_FILE * RECORD_BYTES:,} bytes, found {len(data):,}")
    records = data.reshape(IMAGES_PER_FILE, RECORD_BYTES)
    return records[:, 1:], records[:, 0]


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = load_plain_pickle(path)
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise DataError(f"{path} is damaged: expected a dictionary with data and labels")
    try:
        return np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except ValueError as error:
        raise DataError(f"{path} is damaged: expected arrays of images and labels") from error


def _to_pixels(path: Path, planes: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """Convert rows of three colour planes to uint8 [N, 32, 32, 3]."""
    if planes.shape != (IMAGES_PER_FILE, RECORD_BYTES - 1) or planes.dtype != np.uint8:
        raise DataError(f"{path} is damaged: expected uint8 images {(IMAGES_PER_FILE, RECORD_BYTES - 1)}")
    if labels.shape != (IMAGES_PER_FILE,) or labels.dtype.kind not in "iu":
        raise DataError(f"{path} is damaged: expected {IMAGES_PER_FILE} whole numbers as labels")
    return torch.from_numpy(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy())
