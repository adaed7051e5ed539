"""List the pictures of folders that are one's own, to train or to recalibrate on: in any format that can be read.

Every function raises FolderError where a folder cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_store.images.encoded import image_format
from model_store.images.errors import FolderError
from model_store.images.formats import SUFFIXES

READ_FORMATS = tuple(SUFFIXES)
READ_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# Pictures that are not read: to leave them out would hide it.
OTHER_SUFFIXES = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".ico", ".psd", ".svg", ".pgm", ".ppm")
SNIFFED_BYTES = 16


def is_picture(file: Path) -> bool:
    """Return whether a file is a picture by its suffix, or by its content where it has the suffix of none."""
    if file.suffix.lower() in (*READ_SUFFIXES, *OTHER_SUFFIXES):
        return True
    if not file.is_file():  # to open a pipe would wait for ever
        return False
    try:
        with file.open("rb") as opened:
            name = image_format(opened.read(SNIFFED_BYTES))
    except OSError:
        return False
    return name in READ_FORMATS and name != "bmp"  # two letters, with which a text may begin


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, sorted by name."""
    try:
        return sorted(inside for inside in folder.iterdir() if not inside.name.startswith("."))
    except OSError as error:
        raise FolderError(folder, f"cannot be read: {error.strerror}") from error


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, which may be links; hidden ones are not there."""
    waiting = [(folder, frozenset[tuple[int, int]]())]
    while waiting:
        current, above = waiting.pop()
        status = current.stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            raise FolderError(current, "is a link to a folder that holds it")
        for inside in visible(current):
            if inside.is_dir():
                waiting.append((inside, above | {identity}))
            else:
                yield inside
