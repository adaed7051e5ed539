"""Find pictures on disk by names, folders and patterns, and group them into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from service.errors import ClientError
from service.types import IMAGE_SUFFIXES

# A batch of larger pictures has fewer of them, so that the body stays far below the limit of services.
BATCH_BYTES = 8 * 2**20


def find(names: Iterable[str]) -> Iterator[Path | ClientError]:
    """Yield the files that names, folders (recursively) and patterns match; an error for each that matches none."""
    for name in names:
        found = list(_found(name))
        yield from found
        if not found:
            yield ClientError(f"cannot read {name}: {_reason(name)}")


def _found(name: str) -> Iterator[Path]:
    path = Path(name)
    if path.is_dir():
        yield from (each for each in sorted(path.rglob("*")) if _is_picture(each, path))
    elif path.exists():
        yield path
    elif has_magic(name):
        yield from (Path(each) for each in sorted(glob(name, recursive=True)) if Path(each).is_file())


def _is_picture(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _reason(name: str) -> str:
    if Path(name).is_dir():
        return "there are no pictures in it"
    return "no file matches" if has_magic(name) else "there is no such file"


def batches(paths: Iterable[Path], max_images: int) -> Iterator[list[Path]]:
    """Group paths in order, at most `max_images` and BATCH_BYTES together; a larger file is a batch by itself."""
    batch: list[Path] = []
    size = 0
    for path in paths:
        more = _size(path)
        if batch and (len(batch) == max_images or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += more
    if batch:
        yield batch


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reading it reports why
        return 0


def read(path: Path) -> bytes:
    """Read a file; raise ClientError if that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error
