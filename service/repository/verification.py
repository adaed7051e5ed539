"""Verify a level's file against its manifest before anything is computed with it."""

from __future__ import annotations

import threading

from model_store.manifest import Level, Manifest
from model_store.onnx_file.reader import check_agreement, read_level_file
from model_store.store import Store
from service.errors import ArtifactError, NotFoundError
from service.inference.artifact import Artifact
from service.scheduling.level_queue import MAX_BATCH_IMAGES
from service.settings import Precision

# Files are parsed one at a time, as each takes several times its size meanwhile.
_parsing = threading.Lock()


def verified_artifact(
    store: Store, manifest: Manifest, level: Level, *, precision: Precision, max_bytes: int, max_operations: int
) -> Artifact:
    """Read and verify a level's file; raise StoreError or ArtifactError if it does not match its manifest.

    Raises ArtifactError, too, where it takes more than so many bytes, or operations for one draw of one image.
    """
    if level.bytes > max_bytes:  # refused by its size, unread
        raise ArtifactError(f"the file of level {level.name} has more than the {max_bytes:,} bytes that are allowed")
    _check_operations(level.name, level.multiply_adds, max_operations)
    data = store.read_level(manifest, level.name)
    with _parsing:
        file = read_level_file(data, max_bytes, MAX_BATCH_IMAGES)
        check_agreement(file, manifest, level)
        _check_operations(level.name, file.operations, max_operations)
        return Artifact.from_file(file, level.roundings if precision == "published" else None)


def _check_operations(level: str, operations: int, allowed: int) -> None:
    if operations > allowed:
        raise ArtifactError(
            f"level {level} takes {operations / 1e9:,.1f} billion operations for one draw of one image,"
            f" more than the {allowed / 1e9:,.0f} billion that are allowed (max_level_gmacs)"
        )


def not_served(name: str, reason: str) -> NotFoundError:
    """Build the error for a request that names something that failed verification."""
    return NotFoundError(f"{name} is not served, it did not pass verification: {reason}")
