"""Check the files of a version against its manifest."""

from __future__ import annotations

import hashlib

from model_store.errors import VerificationError
from model_store.manifest.level import Level


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`, as manifests record it."""
    return hashlib.sha256(data).hexdigest()


def check_bytes(level: Level, data: bytes) -> None:
    """Raise VerificationError unless `data` has the size and the SHA-256 that the manifest records for the level."""
    if len(data) != level.bytes:
        size = "more" if len(data) > level.bytes else f"{len(data)}"
        raise VerificationError(f"the file of level {level.name} has {size} bytes, its manifest says {level.bytes}")
    found = sha256(data)
    if found != level.sha256:
        raise VerificationError(
            f"the file of level {level.name} was altered: its SHA-256 begins {found[:12]}, "
            f"the manifest says {level.sha256[:12]}"
        )
