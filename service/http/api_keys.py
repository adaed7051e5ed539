"""API keys: a file of their names, roles and digests. The keys themselves are nowhere but with those who use them.

A key is 256 random bits, so that one pass of SHA-256 is all it takes to store it: there is no dictionary to try, as
there is for passwords, and a slow hash would only let strangers keep the processor busy with wrong keys.
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
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGEST = re.compile(r"[0-9a-f]{64}")
# So that whoever searches a leak for secrets knows one.
PREFIX = "slimbayes_"
# How old what was read of the file may be.
SECONDS = 1.0


@dataclass(frozen=True)
class Key:
    """One line of the file: whose key it is, what it may do, and the SHA-256 of it in hexadecimal digits."""

    name: str
    role: Role
    digest: str

    @classmethod
    def make(cls, name: str, role: Role) -> tuple[str, Self]:
        """A new key, which nobody can find out again, and its line; raise ValueError for a bad name."""
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name: up to 64 letters, digits, dots, dashes and underscores are")
        key = PREFIX + secrets.token_urlsafe(32)
        return key, cls(name, role, _digest(key))

    @classmethod
    def parse(cls, line: str) -> Self:
        """What a line means; raise ValueError where it is none."""
        match line.split():
            case [name, role, digest] if role in get_args(Role) and NAME.fullmatch(name) and DIGEST.fullmatch(digest):
                return cls(name, cast(Role, role), digest)
        raise ValueError("expected NAME ROLE SHA256, as `slimbayes keys new` prints it")

    def __str__(self) -> str:
        return f"{self.name} {self.role} {self.digest}"


class Keyring:
    """The keys of a file, which is read again when it has changed: a key is given or taken without a restart."""

    def __init__(self, path: Path) -> None:
        """Raise StartError where the file cannot be read or has no keys."""
        self.path = path
        self._seen, self._looked = self._state(), time.monotonic()
        self._keys = read_keys(path)

    def find(self, key: str) -> Key | None:
        """Whose key it is. It takes as long for a wrong key as for a right one."""
        self._refresh()
        digest, found = _digest(key), None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < SECONDS:
            return
        self._looked = time.monotonic()
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._keys = read_keys(self.path)
                log.info("read %d keys", len(self._keys))
            except StartupError as error:
                log.error("keeping the keys that were read before: %s", error)

    def _state(self) -> tuple[int, ...]:
        try:
            stat = self.path.stat()
        except OSError:
            return ()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_keys(path: Path) -> list[Key]:
    """The keys of a file, one a line; raise StartError where there is none, or a line is wrong."""
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
            raise StartupError(f"line {number} of {path} is no key: {error}") from error
    if len({key.name for key in keys}) < len(keys):
        raise StartupError(f"two keys in {path} have one name: give each its own")
    if not keys:
        raise StartupError(f"there are no keys in {path}: make one with `slimbayes keys new NAME`")
    return keys


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
