"""Read a folder of labelled pictures, FOLDER/CLASS/PICTURE or deeper in a class, by the names of a model's classes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.images import READ_FORMATS, FolderError, files_below, is_picture, visible
from model_store.manifest import InputShape
from model_store.text import printable
from service.errors import RecalibrationError, RequestError
from service.pipeline.preprocessing import decode
from service.settings import DECODE_MS, MAX_PIXELS

Pixels = npt.NDArray[np.uint8]
# Names in a message; the rest is counted.
MAX_NAMES = 10


@dataclass(frozen=True)
class LabelledFolder:
    """Pictures with the numbers of their classes; `left_out` are other files, `missing` classes without a picture."""

    folder: Path
    files: tuple[Path, ...]
    labels_N: npt.NDArray[np.int64]
    left_out: tuple[Path, ...]
    missing: tuple[str, ...]

    @classmethod
    def scan(cls, folder: Path, classes: Sequence[str]) -> LabelledFolder:
        """List the pictures of a folder; raise RecalibrationError, naming it, for a folder of no class."""
        if not folder.is_dir():
            raise RecalibrationError(f"there is no folder {folder}")
        try:
            return cls._scan(folder, classes)
        except FolderError as error:
            raise RecalibrationError(f"{printable(error.folder)} {error.problem}") from error

    @classmethod
    def _scan(cls, folder: Path, classes: Sequence[str]) -> LabelledFolder:
        inside = visible(folder)
        folders = {each.name: each for each in inside if each.is_dir()}
        if unknown := sorted(folders.keys() - set(classes)):
            raise RecalibrationError(
                f"{folder} has folders of no class of the model: {_listed(unknown)}; expected some of "
                f"{_listed(classes)}"
            )
        left_out = [each for each in inside if not each.is_dir()]
        files, labels = list[Path](), list[int]()
        for number, name in enumerate(classes):
            for path in sorted(files_below(folders[name])) if name in folders else ():
                if is_picture(path):
                    files.append(path)
                    labels.append(number)
                else:
                    left_out.append(path)
        missing = tuple(name for number, name in enumerate(classes) if number not in labels)
        return cls(folder, tuple(files), np.array(labels, np.int64), tuple(left_out), missing)

    def __len__(self) -> int:
        return len(self.files)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Count the pictures of each class that has any."""
        numbers = np.bincount(self.labels_N, minlength=len(classes)).tolist()
        return {name: count for name, count in zip(classes, numbers, strict=True) if count}

    def digest(self) -> str:
        """Return the SHA-256 of labels and contents; it tells which pictures these were."""
        whole = hashlib.sha256()
        for path, label in zip(self.files, self.labels_N.tolist(), strict=True):
            whole.update(f"{label} {hashlib.sha256(_read(path)).hexdigest()}\n".encode())
        return whole.hexdigest()

    def check(self, shape: InputShape) -> None:
        """Decode all pictures; raise RecalibrationError, naming each, if some cannot be read."""
        problems = []
        for path in self.files:
            try:
                _decoded(path, shape)
            except RecalibrationError as error:
                problems.append(str(error))
        if problems:
            shown = "".join(f"\n  {each}" for each in problems[:MAX_NAMES])
            more = f"\n  and {len(problems) - MAX_NAMES:,} more" if len(problems) > MAX_NAMES else ""
            raise RecalibrationError(f"{len(problems):,} of {len(self):,} pictures cannot be read:{shown}{more}")

    def batches(self, shape: InputShape, size: int) -> Iterator[Pixels]:
        """Yield pixels uint8 [n, H, W, C] of the pictures in order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield np.stack([_decoded(path, shape) for path in self.files[start : start + size]])


def _decoded(path: Path, shape: InputShape) -> Pixels:
    until = time.thread_time() + DECODE_MS / 1000
    try:
        return decode(_read(path), shape, MAX_PIXELS, formats=READ_FORMATS, until=until)
    except RequestError as error:
        raise RecalibrationError(f"{path} {str(error).removeprefix('image 0 ')}") from error


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise RecalibrationError(f"{path} is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise RecalibrationError(f"cannot read {path}: {error.strerror}") from error


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(printable, names[:MAX_NAMES])) + more
