"""Where images are: a file or folder, or the URL of an object or of what lies below it in a bucket.

Buckets are reached as those of stores are (`model_store.storage.bucket`), with credentials from the environment.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from model_store.errors import ObjectNotFoundError, StoreError
from model_store.storage import bucket
from model_store.storage.bucket import object_error
from service.errors import ScoringError, UnreadableError
from service.types import IMAGE_SUFFIXES


@dataclass(frozen=True)
class File:
    """A file below a place: its size in bytes, and a `mark` that is another once it was written anew."""

    name: str
    size: int
    mark: str


class Storage(Protocol):
    """Every method raises ScoringError, saying why; UnreadableError where it is one file's own fault, for good."""

    def files(self) -> Iterator[File]:
        """Every file below, in no order; of a place that is itself a file, that one."""
        ...

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """The file, to read from anywhere in it."""
        ...


def storage_at(location: str) -> Storage:
    """What a path or URL means; nothing is read yet. Raises ScoringError for a kind of URL that is not known."""
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return Folder(Path(rest if separator else location))
    if scheme not in bucket.SCHEMES:
        known = ", ".join(f"{each}://" for each in bucket.SCHEMES)
        raise ScoringError(f"{scheme}:// cannot be read: expected a file, a folder, or the URL of one with {known}")
    return Bucket(location)


class Folder:
    """Files below a folder. Links to files are followed, links to folders are not."""

    def __init__(self, path: Path) -> None:
        self.alone = path.name if path.is_file() else None
        self.root = path.parent if self.alone else path

    def files(self) -> Iterator[File]:
        if self.alone:
            yield _file(self.alone, self.root / self.alone)
            return
        if not self.root.is_dir():
            raise ScoringError(f"cannot read {self.root}: there is no such file or folder")
        yield from self._below("")

    def read(self, name: str) -> bytes:
        with _saying_of_a_file(name), open(os.path.join(self.root, name), "rb") as file:
            return file.read()

    def open(self, name: str) -> IO[bytes]:
        with _saying_of_a_file(name):
            return open(os.path.join(self.root, name), "rb")

    def _below(self, folder: str) -> Iterator[File]:
        try:
            entries = list(os.scandir(self.root / folder))
        except OSError as error:
            raise ScoringError(f"cannot read {error.filename}: {error.strerror}") from error
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(f"{name}/")
            elif not entry.is_dir():
                yield _file(name, entry)


def _file(name: str, found: Path | os.DirEntry[str]) -> File:
    try:
        status = found.stat()
    except OSError:  # to read it will say why
        return File(name, 0, "")
    return File(name, status.st_size, str(status.st_mtime_ns))


class Bucket:
    """Objects whose names begin with what the URL says, up to a `/`; or the one that it names, if it ends as such."""

    def __init__(self, url: str) -> None:
        folder, _, last = url.rpartition("/")
        self.url, self.alone = (
            url,
            last if PurePosixPath(last).suffix.lower() in (*IMAGE_SUFFIXES, ".parquet") else None,
        )
        with _saying_of_a_bucket(url):
            self.client: Any = bucket.BucketStorage(folder if self.alone else url).client

    def __reduce__(self) -> tuple[type[Bucket], tuple[str]]:
        return Bucket, (self.url,)  # where it is unpickled, that environment counts

    def files(self) -> Iterator[File]:
        with _saying_of_a_bucket(self.url):
            pages = [[self.client.head(self.alone)]] if self.alone else self.client.list()
            yield from (_file_of(each) for page in pages for each in page)

    def read(self, name: str) -> bytes:
        with _saying_of_a_bucket(name):
            return bytes(self.client.get(name).bytes())

    def open(self, name: str) -> IO[bytes]:
        with _saying_of_a_bucket(name):
            return io.BufferedReader(Ranges(self.client, name, self.client.head(name)["size"]))


class Ranges(io.RawIOBase):
    """An object of which only what is asked for is fetched."""

    def __init__(self, client: Any, name: str, size: int) -> None:
        self.client, self.name, self.size, self.at = client, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self.size - self.at))
        if length:
            with _saying_of_a_bucket(self.name):
                buffer[:length] = bytes(self.client.get_range(self.name, start=self.at, length=length))
        self.at += length
        return length


def _file_of(found: Any) -> File:
    return File(found["path"], found["size"], found["e_tag"] or found["last_modified"].isoformat())


@contextmanager
def _saying_of_a_file(name: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UnreadableError(f"{name} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise ScoringError(f"{name} cannot be read: {error.strerror}") from error


@contextmanager
def _saying_of_a_bucket(name: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        found = object_error(error)
        kind = UnreadableError if isinstance(found, ObjectNotFoundError) else ScoringError
        raise kind(f"{name} cannot be read: {found}") from error
    except StoreError as error:
        raise ScoringError(f"{name} cannot be read: {error}") from error
