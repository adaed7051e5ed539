"""Read input files from a local path or a bucket: a single file or object, or everything below a prefix.

Buckets use the client of the model store (`model_store.storage.bucket`), with credentials from the environment.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from model_store.errors import ObjectNotFoundError, StoreError
from model_store.storage import bucket
from model_store.storage.bucket import object_error
from model_store.text import printable
from service.errors import ScoringError, UnreadableError
from service.types import IMAGE_SUFFIXES


@dataclass(frozen=True)
class File:
    """File of a storage: its size in bytes, and a `mark` that changes when it is rewritten."""

    name: str
    size: int
    mark: str


class Storage(Protocol):
    """Read-only files. Methods raise ScoringError with the reason, UnreadableError if one file is at fault for good."""

    def files(self) -> Iterator[File]:
        """Yield every file, recursively and unordered; if the location is a file, only that one."""

    def read(self, name: str) -> bytes:
        """Return the file's bytes."""

    def open(self, name: str) -> IO[bytes]:
        """Open the file for random access."""


def storage_at(location: str) -> Storage:
    """Return the storage of a path or URL without reading; raise ScoringError for an unknown kind of URL."""
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
        self.single_name = path.name if path.is_file() else None
        self.root = path.parent if self.single_name else path

    def files(self) -> Iterator[File]:
        if self.single_name:
            yield _file(self.single_name, self.root / self.single_name)
            return
        if not self.root.is_dir():
            raise ScoringError(f"cannot read {printable(self.root)}: there is no such file or folder")
        yield from self._below("")

    def read(self, name: str) -> bytes:
        with self.open(name) as file, _as_file_errors(name):
            return file.read()

    def open(self, name: str) -> IO[bytes]:
        path = os.path.join(self.root, name)
        with _as_file_errors(name):
            if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for ever
                raise UnreadableError(f"{printable(name)} is no regular file")
            return open(path, "rb")

    def _below(self, folder: str) -> Iterator[File]:
        try:
            entries = list(os.scandir(self.root / folder))
        except OSError as error:
            raise ScoringError(f"cannot read {printable(error.filename)}: {error.strerror}") from error
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(f"{name}/")
            elif not entry.is_dir():
                yield _file(name, entry)


def _file(name: str, found: Path | os.DirEntry[str]) -> File:
    try:
        status = found.stat()
    except OSError:  # reading it reports why
        return File(name, 0, "")
    return File(name, status.st_size, str(status.st_mtime_ns))


class Bucket:
    """Objects below the URL; or the one that it names, if it ends in the suffix of a picture or Parquet file."""

    def __init__(self, url: str) -> None:
        folder, _, last = url.rpartition("/")
        self.url = url
        is_file = PurePosixPath(last).suffix.lower() in (*IMAGE_SUFFIXES, ".parquet")
        self.single_name = last if is_file else None
        with _as_bucket_errors(url):
            self.client: Any = bucket.BucketStorage(folder if self.single_name else url).client

    def __reduce__(self) -> tuple[type[Bucket], tuple[str]]:
        return Bucket, (self.url,)  # credentials come from the environment where it is unpickled

    def files(self) -> Iterator[File]:
        with _as_bucket_errors(self.url):
            pages = [[self.client.head(self.single_name)]] if self.single_name else self.client.list()
            for each in (each for page in pages for each in page):
                yield File(each["path"], each["size"], each["e_tag"] or each["last_modified"].isoformat())

    def read(self, name: str) -> bytes:
        with _as_bucket_errors(name):
            return bytes(self.client.get(name).bytes())

    def open(self, name: str) -> IO[bytes]:
        with _as_bucket_errors(name):
            return io.BufferedReader(RangeReader(self.client, name, self.client.head(name)["size"]))


class RangeReader(io.RawIOBase):
    """Random access to an object by range requests."""

    def __init__(self, client: Any, name: str, size: int) -> None:
        self.client, self.name, self.size, self.position = client, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self.size - self.position))
        if length:
            with _as_bucket_errors(self.name):
                buffer[:length] = bytes(self.client.get_range(self.name, start=self.position, length=length))
        self.position += length
        return length


@contextmanager
def _as_file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UnreadableError(f"{printable(name)} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise ScoringError(f"{printable(name)} cannot be read: {error.strerror}") from error


@contextmanager
def _as_bucket_errors(name: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        found = object_error(error)
        kind = UnreadableError if isinstance(found, ObjectNotFoundError) else ScoringError
        raise kind(f"{name} cannot be read: {found}") from error
    except StoreError as error:
        raise ScoringError(f"{name} cannot be read: {error}") from error
