"""Cache files of a store on this machine by digest, bounded in bytes; processes may share the folder.

    CACHE/SHA256.content        an object, by its own digest, whatever its names and stores
    CACHE/SHA256.document       the last answer of a store, by the digest of the question

Entries are written atomically and verified when read; damaged ones are removed. The least recently used entries go
first. Losing an entry only costs time, so that errors of the disk are logged, not raised.

Only what this user wrote is read: the folder may be a volume that others can write to, and a listing has no digest to
check it by. Links are never followed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_store.errors import StoreError
from model_store.manifest.integrity import sha256
from model_store.storage.object_storage import TEMP_PREFIX

log = logging.getLogger("slimbayes.store")
DIGEST_BYTES = hashlib.sha256().digest_size
LOCK_FILE = ".lock"
# Older unfinished writes belong to processes that died.
ABANDONED_AFTER_S = 3600.0


class DiskCache:
    """Up to `limit` bytes in `folder`, readable by this user alone; raise StoreError where it cannot be created."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        # Repeated warnings are logged once: the cache is used often.
        self._last_warning = ""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private()
            with self._locked():
                pass
        except OSError as error:
            raise StoreError(f"no cache can be kept at {folder}: {error.strerror}") from error

    def content(self, digest: str) -> bytes | None:
        """Return the bytes with this SHA-256, if cached."""
        name = f"{digest}.content"
        data = self._read(name)
        if data is not None and sha256(data) != digest:
            self._remove_damaged(name)
            return None
        return data

    def keep_content(self, data: bytes) -> str:
        """Cache bytes and return their SHA-256."""
        digest = sha256(data)
        self._write(f"{digest}.content", data)
        return digest

    def document(self, name: str) -> bytes | None:
        """Return the last document of that name, if cached."""
        entry = _document(name)
        data = self._read(entry)
        if data is not None and hashlib.sha256(data[DIGEST_BYTES:]).digest() != data[:DIGEST_BYTES]:
            self._remove_damaged(entry)
            return None
        return data and data[DIGEST_BYTES:]

    def keep_document(self, name: str, data: bytes) -> None:
        """Cache a document in place of the last one of that name."""
        self._write(_document(name), hashlib.sha256(data).digest() + data)

    @property
    def used(self) -> int:
        """Return the bytes in use."""
        with self._locked():
            return sum(size for _, _, size in self._entries())

    def _make_private(self) -> None:
        """Take the folder from all other users; raise StoreError where it belongs to one of them.

        A mounted volume belongs to root, and often everybody can write to it.
        """
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if found.st_uid not in (os.geteuid(), 0):
                raise StoreError(f"no cache can be kept at {self.folder}: it belongs to another user")
            if found.st_uid == os.geteuid() and found.st_mode & 0o077:
                os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int) -> int:
        """Open a regular file of this user in the folder; raise OSError for anything else."""
        path = self.folder / name
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            return descriptor
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "an entry is no file of this user", str(path))

    def _read(self, name: str) -> bytes | None:
        try:
            with open(self._open(name, os.O_RDONLY), "rb") as file:
                data = file.read(self.limit + DIGEST_BYTES)
                os.utime(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn_once(error)
            return None
        return data

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > self.limit or self._read(name) == data:
            return
        staged = self.folder / f"{TEMP_PREFIX}{secrets.token_hex(8)}"
        try:
            with self._locked():
                self._make_room(len(data), name)
                with open(self._open(staged.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    file.write(data)
                staged.replace(self.folder / name)
        except OSError as error:
            with suppress(OSError):
                staged.unlink(missing_ok=True)
            self._warn_once(error)

    def _make_room(self, size: int, name: str) -> None:
        """Remove the least recently used entries until `size` more bytes fit."""
        entries = sorted(entry for entry in self._entries() if entry[1].name != name)
        total = sum(held for _, _, held in entries)
        for used, path, held in entries:
            abandoned = path.name.startswith(TEMP_PREFIX) and used < time.time() - ABANDONED_AFTER_S
            if total + size > self.limit or abandoned:
                path.unlink(missing_ok=True)
                total -= held

    def _entries(self) -> Iterator[tuple[float, Path, int]]:
        """Yield the last use, the path and the bytes of each entry."""
        for entry in os.scandir(self.folder):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process removed it
                continue
            if entry.name != LOCK_FILE:
                yield found.st_mtime, Path(entry.path), found.st_size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that processes take to change the folder."""
        with open(self._open(LOCK_FILE, os.O_RDWR | os.O_CREAT), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_damaged(self, name: str) -> None:
        log.warning("a damaged entry of the cache was removed and is read again")
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def _warn_once(self, error: OSError) -> None:
        problem = error.strerror or type(error).__name__
        if problem != self._last_warning:
            self._last_warning = problem
            log.warning("the cache cannot be used: %s", problem)


def user_cache() -> Path:
    """Return the user's cache folder of Slimbayes; raise StoreError where the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimbayes"
    except RuntimeError as error:
        raise StoreError("no cache can be kept: this user has no home") from error


def _document(name: str) -> str:
    return f"{sha256(name.encode())}.document"
