"""Removing what a crash left behind, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from model_store.store import MANIFEST, STAGING_PREFIX, Store
from model_store.version import is_version_name

# A version folder without a manifest may be a copy under way; it counts as left behind after this many seconds.
COPY_GRACE_SECONDS = 3600.0


def collect(store: Store, *, dry_run: bool = False) -> list[str]:
    """Remove abandoned staging folders and version folders that never got a manifest.

    Returns what was (or, with `dry_run`, would be) removed, as paths relative to the store. Never touches a version,
    nor the staging folder of a publisher that is still alive.
    """
    left_behind = list(_left_behind(store.root))
    if not dry_run:
        for path in left_behind:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return [str(path.relative_to(store.root)) for path in left_behind]


def _left_behind(root: Path) -> Iterator[Path]:
    for model in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        for entry in sorted(model.iterdir()):
            if entry.name.startswith(STAGING_PREFIX):
                if not _in_use(entry if entry.is_dir() else model):
                    yield entry
            elif is_version_name(entry.name) and not (entry / MANIFEST).exists() and _age(entry) > COPY_GRACE_SECONDS:
                yield entry


def _in_use(folder: Path) -> bool:
    """Whether a living publisher holds the folder's lock."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # renamed into place just now
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _age(path: Path) -> float:
    """Seconds since anything in the folder changed."""
    newest = max((entry.stat().st_mtime for entry in [path, *path.rglob("*")]), default=0.0)
    return time.time() - newest
