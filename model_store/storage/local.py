"""Keep objects as files in a folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from model_store.errors import ObjectError, ObjectExistsError, ObjectNotFoundError, StoreError, StoreNotFoundError
from model_store.storage.object_storage import TEMP_PREFIX, ObjectInfo

# A concurrent clean-up may remove a new folder before it has a file; it is then made again, so many times.
WRITE_ATTEMPTS = 5
# Errors of file systems without hard links.
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStorage:
    """Objects as the files below `root`; follows no links to folders, nor any link out of its version."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        return str(self.root)

    def check(self, *, writable: bool = False) -> None:
        if writable:
            self._make_root()
        if not os.path.isdir(self.root):
            raise StoreNotFoundError(
                f"there is no store at {self.root}: expected a folder that `slimbayes prune` published to"
            )
        if not os.access(self.root, os.R_OK | os.X_OK, effective_ids=True):
            raise StoreNotFoundError(f"the store at {self.root} cannot be read: check its permissions")

    def folders(self) -> list[str]:
        with _as_object_errors():
            return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False))

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        with _as_object_errors():
            try:
                yield from self._list(prefix)
            except (FileNotFoundError, NotADirectoryError):
                return

    def read(self, name: str, limit: int) -> bytes:
        path = self.root / name
        with _as_object_errors():
            self._check_inside(name, path)
            with path.open("rb") as file:
                return file.read(min(limit, os.fstat(file.fileno()).st_size))

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        path = self.root / name
        staged = path.with_name(f"{TEMP_PREFIX}{secrets.token_hex(8)}")
        with _as_object_errors():
            try:
                self._write_durably(staged, data)
                _publish(staged, path, new)
                _fsync_folder(path.parent)
            except OSError:
                staged.unlink(missing_ok=True)
                self._remove_empty(path.parent)
                raise
            staged.unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> bool:
        return False

    def delete(self, name: str) -> None:
        path = self.root / name
        with _as_object_errors():
            try:
                path.rmdir() if name.endswith("/") and not path.is_symlink() else path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            self._remove_empty(path.parent)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make a store at {self.root}: {error.strerror}") from error
        if not os.access(self.root, os.W_OK, effective_ids=True):
            raise StoreError(f"cannot write to the store at {self.root}: check its permissions")

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        entries = sorted(os.scandir(self.root / prefix), key=lambda entry: entry.name)
        for entry in entries:
            name = f"{prefix}{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    inside = list(self._list(f"{name}/"))
                    yield from inside or [_object(f"{name}/", entry)]
                else:
                    yield _object(name, entry)
            except FileNotFoundError:  # removed or renamed since the folder was listed
                continue

    def _check_inside(self, name: str, path: Path) -> None:
        """Raise ObjectError unless the file is inside its own version, where nothing else can change it."""
        folder = self.root.joinpath(*name.split("/")[:-1][:2])
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise ObjectError("it lies outside its version")

    def _write_durably(self, path: Path, data: bytes) -> None:
        for attempt in range(WRITE_ATTEMPTS):
            self._make_folder(path.parent)
            try:
                with path.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                return
            except FileNotFoundError:
                if attempt == WRITE_ATTEMPTS - 1:
                    raise

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _fsync_folder(folder.parent)

    def _remove_empty(self, folder: Path) -> None:
        """Remove empty folders, up to the root."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _object(name: str, entry: os.DirEntry[str]) -> ObjectInfo:
    found = entry.stat(follow_symlinks=False)
    return ObjectInfo(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _publish(staged: Path, path: Path, new: bool) -> None:
    if not new:
        staged.replace(path)
        return
    try:
        os.link(staged, path)
    except OSError as error:
        if path.exists() or error.errno not in NO_HARD_LINKS:
            raise
        staged.replace(path)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _as_object_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFoundError(_reason(error)) from error
    except FileExistsError as error:
        raise ObjectExistsError(_reason(error)) from error
    except OSError as error:
        raise ObjectError(_reason(error)) from error


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
