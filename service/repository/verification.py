"""A level that is served: its engine, built when it is first needed, and what is known of how it does."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from model_store.manifest import Level, Manifest
from model_store.onnx_file.reader import check_agreement, read_level_file
from model_store.store import Store
from service.errors import ArtifactError, NotFoundError
from service.inference.artifact import Artifact
from service.scheduling.level_queue import MOST_IMAGES
from service.settings import Precision

if TYPE_CHECKING:
    pass


def verified_artifact(store: Store, manifest: Manifest, level: Level, precision: Precision, most: int) -> Artifact:
    """A level's verified file, of `most` bytes; raise StoreError or ArtifactError where it is not as its manifest."""
    if level.bytes > most:  # which nobody needs to read
        raise ArtifactError(f"the file of level {level.name} has more than the {most:,} bytes that are allowed")
    file = read_level_file(store.read_level(manifest, level.name), most, MOST_IMAGES)
    check_agreement(file, manifest, level)
    return Artifact.from_file(file, level.roundings if precision == "published" else None)


def draw_key(version: str, level: str) -> str:
    """What keys the draws of a level: the version's content digest, so that equal content gives equal answers."""
    digest = version.rpartition("-")[2]
    return hashlib.sha256(f"{digest}/{level}".encode()).hexdigest()


def refused(what: str, reason: str) -> NotFoundError:
    """What a client is told who asks for something that failed verification."""
    return NotFoundError(f"{what} is not served, it did not pass verification: {reason}")
