"""Atomic snapshots of a run, and resuming from them.

A snapshot is written beside its place, flushed and renamed over it: a crash leaves the one before. It is read with
torch's restricted unpickler. Random numbers and schedules need no state: both are functions of how many images the
world has seen, so that number, the model, the optimiser and what the log will say are the whole of it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from training.errors import RunError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all, on disk when this returns; one writer at a time."""
    staged = path.with_name(f".{path.name}.new")
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            staged.unlink()
