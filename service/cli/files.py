"""Find pictures on disk by names, folders and patterns, and group them into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from service.errors import ClientError
from service.types import IMAGE_SUFFIXES

# A batch of larger pictures has fewer of them, so that the body stays far below the limit of services.
BATCH_BYTES = 8 * 2**20


@dataclass
class Found:
    """Pictures in order, files in folders that are left out since they are none, and errors for names without any."""

    pictures: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    errors: list[ClientError] = field(default_factory=list)


def find(names: Iterable[str]) -> Found:
    """Find the pictures that names, folders (recursively) and patterns match."""
    found = Found()
    for name in names:
        before = len(found.pictures)
        _add(found, name)
        if len(found.pictures) == before:
            found.errors.append(ClientError(f"cannot read {name}: {_reason(name)}"))
    return found


def _add(found: Found, name: str) -> None:
    path = Path(name)
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in each.relative_to(path).parts)
            if each.is_file() and not hidden:
                (found.pictures if each.suffix.lower() in IMAGE_SUFFIXES else found.left_out).append(each)
    elif path.exists():
        found.pictures.append(path)
    elif has_magic(name):
        found.pictures += (Path(each) for each in sorted(glob(name, recursive=True)) if Path(each).is_file())


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
