"""API keys: a file of their names, roles and SHA-256 digests; the keys themselves are not stored.

A key is 256 random bits, so one pass of SHA-256 is enough to store it: no dictionary can be tried, as for passwords,
and a slow hash would only let clients keep the processor busy with wrong keys.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast, get_args

from service.errors import StartupError

log = logging.getLogger("slimbayes.service")
Role = Literal["user", "admin"]
NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
# Lets secret scanners recognise a leaked key.
KEY_PREFIX = "slimbayes_"
RELOAD_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Key:
    """One line of the file: name and role of a key, and its SHA-256 in hexadecimal digits."""

    name: str
    role: Role
    digest: str

    @classmethod
    def make(cls, name: str, role: Role) -> tuple[str, Self]:
        """Generate a key, which cannot be recovered later, and its line; raise ValueError for an invalid name."""
        if NAME_PATTERN.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a valid name: expected up to 64 letters, digits, '.', '-' and '_'")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        return key, cls(name, role, _digest(key))

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse one line; raise ValueError where it is not one."""
        match line.split():
            case [name, role, digest] if (
                role in get_args(Role) and NAME_PATTERN.fullmatch(name) and DIGEST_PATTERN.fullmatch(digest)
            ):
                return cls(name, cast(Role, role), digest)
        raise ValueError("expected NAME ROLE SHA256, as `slimbayes keys new` prints it")

    def __str__(self) -> str:
        return f"{self.name} {self.role} {self.digest}"


class Keyring:
    """The keys of a file, reloaded when it changes, so that keys are added and revoked without a restart."""

    def __init__(self, path: Path) -> None:
        """Load the file; raise StartupError where it cannot be read or has no keys."""
        self.path = path
        self._file_state, self._checked_at = self._stat(), time.monotonic()
        self._keys = read_keys(path)

    def find(self, key: str) -> Key | None:
        """Return the line of a key, None for an unknown one; constant-time, so that timing reveals nothing."""
        self._reload()
        digest, found = _digest(key), None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def _reload(self) -> None:
        if time.monotonic() - self._checked_at < RELOAD_INTERVAL_S:
            return
        self._checked_at = time.monotonic()
        state = self._stat()
        if state != self._file_state:
            self._file_state = state
            try:
                self._keys = read_keys(self.path)
                log.info("reloaded %d API keys", len(self._keys))
            except StartupError as error:
                log.error("keeping the previous API keys: %s", error)

    def _stat(self) -> tuple[int, ...]:
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_keys(path: Path) -> list[Key]:
    """Read the keys of a file, one a line; raise StartupError where there are none, or a line is invalid."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read the keys in {path}: {getattr(error, 'strerror', 'it is not text')}") from error
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            keys.append(Key.parse(line))
        except ValueError as error:
            raise StartupError(f"line {number} of {path} is not a key: {error}") from error
    if len({key.name for key in keys}) < len(keys):
        raise StartupError(f"two keys in {path} have the same name: give each its own")
    if not keys:
        raise StartupError(f"there are no keys in {path}: create one with `slimbayes keys new NAME`")
    return keys


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
