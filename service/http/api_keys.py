"""API keys: a file of their names, roles and SHA-256 digests; the keys themselves are not stored.

A key is 256 random bits, so one pass of SHA-256 is enough to store it: no dictionary can be tried, as for passwords,
and a slow hash would only let clients keep the processor busy with wrong keys.
"""

from __future__ import annotations

import errno
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
# A file may be written again in the same tick of the clock that stamps it; until then it is read at every look.
UNSETTLED_S = 2.0


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


@dataclass(frozen=True)
class KeysFile:
    """The keys that a file has, and what is wrong with it."""

    keys: tuple[Key, ...]
    problems: tuple[str, ...]


class Keyring:
    """The keys of a file, reloaded when it changes, so that keys are added and revoked without a restart.

    Only who is in the file as it is now is let in: nobody while it is empty, unreadable or gone, and never by a line
    that is not valid.
    """

    def __init__(self, path: Path) -> None:
        """Load the file; raise StartupError where it cannot be read, has no keys, or lines that are not keys."""
        self.path = path
        self._checked_at = time.monotonic()
        self._file_state = self._stat()
        found = read_keys(path)
        if found.problems:
            raise StartupError(found.problems[0])
        self._found = found

    def find(self, key: str) -> Key | None:
        """Return the line of a key, None for an unknown one; constant-time, so that timing reveals nothing."""
        self._reload()
        digest, found = _digest(key), None
        for known in self._found.keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def _reload(self) -> None:
        if time.monotonic() - self._checked_at < RELOAD_INTERVAL_S:
            return
        self._checked_at = time.monotonic()
        state = self._stat()
        if state is not None and state == self._file_state:
            return
        # Read after its state, which is then never newer than the keys.
        self._file_state = state
        found = read_keys(self.path)
        if found != self._found:
            self._log_reload(found)
        self._found = found

    @staticmethod
    def _log_reload(found: KeysFile) -> None:
        log.info("reloaded the API keys: there are %d", len(found.keys))
        for problem in found.problems:
            log.error("API keys: %s", problem)

    def _stat(self) -> tuple[int, ...] | None:
        """Return what changes with the file; None, which equals no state, while it may change unnoticed."""
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        if abs(time.time() - max(stat.st_mtime, stat.st_ctime)) < UNSETTLED_S:
            return None
        return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def read_keys(path: Path) -> KeysFile:
    """Read the keys of a file, one a line, and what is wrong with it; of two keys of one name, the first counts."""
    try:
        if path.is_fifo():  # whose writer would be waited for
            raise OSError(errno.EINVAL, "it is a pipe")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is not text")
        return KeysFile((), (f"cannot read the keys in {path}: {reason}",))
    keys: dict[str, Key] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = Key.parse(line)
        except ValueError as error:
            problems.append(f"line {number} of {path} is not a key: {error}")
            continue
        if keys.setdefault(key.name, key) is not key:
            problems.append(f"two keys in {path} have the same name: give each its own")
    if not keys and not problems:
        problems.append(f"there are no keys in {path}: create one with `slimbayes keys new NAME`")
    return KeysFile(tuple(keys.values()), tuple(problems))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
