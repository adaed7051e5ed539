"""Write files atomically: a crash leaves the old file or the new one, never a part."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from training.errors import RunError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all, flushed to disk on return; supports one writer at a time.

    Raises RunError where it cannot be written.
    """
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
