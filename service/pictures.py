"""Take pictures in the forms that a program has them, and turn them into the bytes of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from model_store.images import ImageError, write_png
from service.errors import ClientError

if TYPE_CHECKING:
    from PIL.Image import Image

# File name and bytes.
File = tuple[str, bytes]
# A path, the bytes of a file, an array uint8 [H, W] or [H, W, C], a Pillow image, or bytes with a name.
Picture: TypeAlias = "str | os.PathLike[str] | bytes | npt.NDArray[Any] | Image | File"


def picture_files(pictures: Picture | Sequence[Picture]) -> list[File]:
    """Return the files of one picture or several; an array uint8 [N, H, W, C] is N of them.

    Arrays and Pillow images become PNG. Raises ClientError, naming the picture, for one that cannot be read.
    """
    several: Any = [pictures]
    if not _is_file(pictures) and (isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4):
        several = pictures
    return [_file(picture, number) for number, picture in enumerate(several)]


def _is_file(picture: Any) -> bool:
    """Return whether this is one file, name and bytes, and not two pictures."""
    is_pair = isinstance(picture, tuple) and len(picture) == 2
    return is_pair and isinstance(picture[0], str) and isinstance(picture[1], bytes | bytearray | memoryview)


def _file(picture: Any, number: int) -> File:
    if _is_file(picture):
        return picture[0], bytes(picture[1])
    if isinstance(picture, bytes | bytearray | memoryview):
        return f"image-{number}", bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return Path(picture).name, _read(Path(picture))
    try:
        return f"image-{number}.png", write_png(picture)
    except ImageError as error:
        raise ClientError(f"image {number} {error}", image=number) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error
