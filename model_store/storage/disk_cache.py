"""Files of a store kept on this machine by digest, bounded in bytes; several processes may share one folder.

    CACHE/SHA256.content        an object, by its own digest, whatever names and stores it has
    CACHE/SHA256.document       what a store said last, by the digest of the question

An entry is written whole and checked when it is read; one that was damaged is removed. What nobody has used for longest
goes first. Nothing is lost with an entry but time, so that whatever the disk refuses is no error.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_store.errors import StoreError
from model_store.integrity import sha256
from model_store.storage.object_storage import TEMP_PREFIX

log = logging.getLogger("slimbayes.store")
DIGEST_BYTES = hashlib.sha256().digest_size
LOCK_FILE = ".lock"
# An unfinished write that is older was left by a process that died.
ABANDONED_AFTER_S = 3600.0


class DiskCache:
    """At most `limit` bytes in `folder`, which is this user's alone; raise StoreError where there can be none."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        # What was last complained of: the cache is used often, the log is for people.
        self._last_warning = ""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / LOCK_FILE).touch(mode=0o600)
        except OSError as error:
            raise StoreError(f"no cache can be kept at {folder}: {error.strerror}") from error

    def content(self, digest: str) -> bytes | None:
        """The bytes whose SHA-256 it is, if they are here."""
        name = f"{digest}.content"
        data = self._read(name)
        if data is not None and sha256(data) != digest:
            self._remove_damaged(name)
            return None
        return data

    def keep_content(self, data: bytes) -> str:
        """Keep bytes; returns their SHA-256."""
        digest = sha256(data)
        self._write(f"{digest}.content", data)
        return digest

    def document(self, name: str) -> bytes | None:
        """What was kept under the name last, if it is here."""
        entry = _document(name)
        data = self._read(entry)
        if data is not None and hashlib.sha256(data[DIGEST_BYTES:]).digest() != data[:DIGEST_BYTES]:
            self._remove_damaged(entry)
            return None
        return data and data[DIGEST_BYTES:]

    def keep_document(self, name: str, data: bytes) -> None:
        """Keep a document in the place of what was under the name before."""
        self._write(_document(name), hashlib.sha256(data).digest() + data)

    @property
    def used(self) -> int:
        """Bytes that are kept now."""
        with self._locked():
            return sum(size for _, _, size in self._entries())

    def _read(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            data = path.read_bytes()
            os.utime(path)
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
                staged.write_bytes(data)
                staged.replace(self.folder / name)
        except OSError as error:
            staged.unlink(missing_ok=True)
            self._warn_once(error)

    def _make_room(self, size: int, name: str) -> None:
        """Remove what was used least lately until so many bytes more are within the limit."""
        entries = sorted(entry for entry in self._entries() if entry[1].name != name)
        total = sum(held for _, _, held in entries)
        for used, path, held in entries:
            abandoned = path.name.startswith(TEMP_PREFIX) and used < time.time() - ABANDONED_AFTER_S
            if total + size > self.limit or abandoned:
                path.unlink(missing_ok=True)
                total -= held

    def _entries(self) -> Iterator[tuple[float, Path, int]]:
        """When each was used last, its path and its bytes."""
        for entry in os.scandir(self.folder):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process made room
                continue
            if entry.name != LOCK_FILE:
                yield found.st_mtime, Path(entry.path), found.st_size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """While no other process makes room here."""
        with (self.folder / LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_damaged(self, name: str) -> None:
        log.warning("an entry of the cache was damaged: it is removed and read anew")
        (self.folder / name).unlink(missing_ok=True)

    def _warn_once(self, error: OSError) -> None:
        problem = error.strerror or type(error).__name__
        if problem != self._last_warning:
            self._last_warning = problem
            log.warning("the cache cannot be used: %s", problem)


def user_cache() -> Path:
    """Where this user's programs keep what they can do without; raise StoreError where there is no such place."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimbayes"
    except RuntimeError as error:
        raise StoreError("no cache can be kept: this user has no home") from error


def _document(name: str) -> str:
    return f"{sha256(name.encode())}.document"
