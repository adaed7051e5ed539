"""Removing what a crash left behind, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from model_store.errors import StoreError
from model_store.store import MANIFEST, STAGING_PREFIX, Store, locked
from model_store.version import is_model_name, is_version_name

# A version folder without a manifest may be a copy under way; it counts as left behind after this many seconds.
COPY_GRACE_SECONDS = 3600.0


def collect(store: Store, *, dry_run: bool = False) -> list[str]:
    """Remove abandoned staging folders and version folders that never got a manifest.

    Returns what was (or, with `dry_run`, would be) removed, as paths relative to the store. Never touches a version,
    nor the staging folder of a publisher that is still alive. Raises StoreError where something cannot be removed.
    """
    removed = []
    try:
        for model in sorted(entry for entry in store.root.iterdir() if is_model_name(entry.name) and entry.is_dir()):
            with locked(model):  # meanwhile nobody begins to publish or sets an alias
                for path in _left_behind(model):
                    if not dry_run:
                        _remove(path)
                    removed.append(str(path.relative_to(store.root)))
    except OSError as error:
        raise StoreError(f"cannot clean up the store: {error.strerror}") from error
    return removed


def _left_behind(model: Path) -> Iterator[Path]:
    for entry in sorted(model.iterdir()):
        if entry.name.startswith(STAGING_PREFIX):
            if not _in_use(entry):
                yield entry
        elif is_version_name(entry.name) and not (entry / MANIFEST).exists() and _age(entry) > COPY_GRACE_SECONDS:
            yield entry


def _in_use(staging: Path) -> bool:
    """Whether a living publisher holds the folder's lock, or renamed it into place just now."""
    try:
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False  # new aliases, whose writer would hold the model's lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return not staging.exists()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _age(path: Path) -> float:
    """Seconds since anything in the folder changed."""
    newest = max((entry.lstat().st_mtime for entry in [path, *path.rglob("*")]), default=0.0)
    return time.time() - newest
