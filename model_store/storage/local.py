"""Keep objects as files in a folder."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from model_store.errors import (
    ObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from model_store.names import is_model_name
from model_store.storage.object_storage import TEMP_PREFIX, ObjectInfo

# A concurrent clean-up may remove a new folder before it has a file; it is then made again, so many times.
WRITE_ATTEMPTS = 100
# No name of a store has more parts: MODEL/VERSION/LEVEL/model.onnx.
MAX_PARTS = 4
EPOCH = datetime.fromtimestamp(0, UTC)
# Errors of file systems without hard links.
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStorage:
    """Objects as the files below `root`; follows no links to folders, nor any link out of its version.

    A folder that cannot be listed, or is nested too deep, is listed itself, with the problem. Once it was seen, a root
    that is gone, or has no folder any more, is unreachable: deletion leaves a model's own folder, so that only somebody
    else, or a file system that is not mounted, makes a store empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Whether the root was there, and had folders, when last looked at.
        self._seen, self._filled = False, False

    @property
    def url(self) -> str:
        return str(self.root)

    @property
    def shows_unfinished_versions(self) -> bool:
        return True

    def check(self, *, writable: bool = False) -> None:
        if writable:
            self._make_root()
        if not os.path.isdir(self.root):
            raise StoreNotFoundError(
                f"there is no store at {self.root}: expected a folder that `slimbayes prune` published to"
            )
        if not os.access(self.root, os.R_OK | os.X_OK, effective_ids=True):
            raise StoreNotFoundError(f"the store at {self.root} cannot be read: check its permissions")
        self._seen = True

    def folders(self) -> list[str]:
        filled = self._filled  # before looking: another thread may see the first folder afterwards
        with _as_object_errors():
            try:
                with os.scandir(self.root) as entries:
                    found = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError) as error:
                if self._seen:
                    raise StoreUnavailableError("its folder is gone") from error
                raise
        if filled and not any(map(is_model_name, found)):
            raise StoreUnavailableError("its folder is empty all at once")
        self._seen, self._filled = True, self._filled or any(map(is_model_name, found))
        return found

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        with _as_object_errors():
            try:
                found = list(self._list(prefix))
            except (FileNotFoundError, NotADirectoryError):
                found = []
        if self._seen and not os.path.isdir(self.root / prefix):
            self.folders()  # it may have gone with the whole store
        yield from found

    def read(self, name: str, limit: int) -> bytes:
        path = self.root / name
        with _as_object_errors():
            self._check_inside(name, path)
            # A FIFO without a writer, or a device, would keep its reader waiting.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            with open(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise ObjectError("it is not a regular file")
                return file.read(min(limit, found.st_size))

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
            except IsADirectoryError:
                path.rmdir()
            self._remove_empty(path.parent)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make a store at {self.root}: {error.strerror}") from error
        if not os.access(self.root, os.W_OK, effective_ids=True):
            raise StoreError(f"cannot write to the store at {self.root}: check its permissions")

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        with os.scandir(self.root / prefix) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = f"{prefix}{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._list_folder(f"{name}/", entry)
                else:
                    yield _object(name, entry)
            except FileNotFoundError:  # removed or renamed since the folder was listed
                continue

    def _list_folder(self, name: str, entry: os.DirEntry[str]) -> list[ObjectInfo]:
        """List what is in a folder, or the folder where that is nothing or cannot be known."""
        if name.count("/") >= MAX_PARTS:
            return [_object(name, entry, "it is a folder where a file was expected")]
        try:
            return list(self._list(name)) or [_object(name, entry)]
        except FileNotFoundError:
            raise
        except OSError as error:
            return [_object(name, entry, _reason(error))]

    def _check_inside(self, name: str, path: Path) -> None:
        """Raise ObjectError unless the file is inside its own version, where nothing else can change it."""
        folder = self.root.joinpath(*name.split("/")[:-1][:2])
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise ObjectError("it lies outside its version")

    def _write_durably(self, path: Path, data: bytes) -> None:
        for attempt in range(WRITE_ATTEMPTS):
            try:
                self._make_folder(path.parent)
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
        """Remove empty folders, up to those of models."""
        while self.root not in (folder, folder.parent):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _object(name: str, entry: os.DirEntry[str], problem: str | None = None) -> ObjectInfo:
    try:
        found = entry.stat(follow_symlinks=False)
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
    except FileNotFoundError:
        raise
    except OSError as error:  # in a folder that can be listed and not entered
        return ObjectInfo(name, 0, EPOCH, problem or _reason(error))
    except (ValueError, OverflowError):
        return ObjectInfo(name, found.st_size, EPOCH, problem or "its time is no date")
    if not _is_utf8(name):
        problem = problem or "its name is not UTF-8"
    return ObjectInfo(name, found.st_size, modified, problem)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
