"""Build and publish tiny versions: the golden manifest's figures, with files of known content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model_store.manifest import Manifest
from model_store.names import version_name
from model_store.storage.disk_cache import DiskCache
from model_store.store import Store
from tests.support.project import PROJECT

# Every schema that there ever was, and a manifest of each.
GOLDEN_FOLDER = PROJECT / "tests" / "contract" / "golden"
GOLDEN = GOLDEN_FOLDER / "manifest-v4.json"
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def golden_document() -> dict[str, Any]:
    """The golden manifest as parsed JSON, a new copy at each call."""
    document: dict[str, Any] = json.loads(GOLDEN.read_bytes())
    return document


def build_version(
    content: bytes = b"first",
    *,
    model: str = "digits",
    created: datetime = NOON,
    levels: Sequence[str] = ("dense", "p80"),
) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest and its files by level; each file is the level's name, a colon and `content`."""
    files = {name: name.encode() + b":" + content for name in levels}
    figures = golden_document()
    described = [
        figures["levels"][0]
        | {
            "name": name,
            "file": f"{name}/model.onnx",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in files.items()
    ]
    document = figures | {
        "model": model,
        "version": version_name(created, hashlib.sha256(content).hexdigest()),
        "created": created,
        "default_level": levels[-1],
        "levels": described,
    }
    return Manifest.model_validate(document), files


@dataclass(frozen=True)
class Filled:
    """A store with model `digits` in two versions, `old` and `new`, and model `letters` in one."""

    store: Store
    old: str
    new: str
    letters: str

    def damage(self) -> None:
        """Alter one byte of one file of the newest version."""
        self.level_file(self.new).write_bytes(b"p80:secund")

    def level_file(self, version: str, level: str = "p80") -> Path:
        """Where a level's file of `digits` lies."""
        return Path(self.store.url) / "digits" / version / level / "model.onnx"


def fill(store: Store) -> Filled:
    """Three versions of two models, without an alias, in an empty store."""
    old, old_files = build_version(b"first")
    new, new_files = build_version(b"second", created=NOON + timedelta(minutes=1))
    letters, letters_files = build_version(b"third", model="letters")
    # The newer one first: order in the store is by name, not by arrival.
    store.publish(new, new_files)
    store.publish(old, old_files)
    store.publish(letters, letters_files)
    return Filled(store, old.version, new.version, letters.version)


def snapshot(store: Store) -> dict[str, bytes]:
    """Every object of every model: name to content."""
    listed = (found for name in store.objects.folders() for found in store.objects.list_objects(f"{name}/"))
    return {found.name: store.objects.read(found.name, found.size) for found in listed if not found.name.endswith("/")}


def entries(cache: DiskCache) -> list[Path]:
    return [path for path in cache.folder.iterdir() if path.suffix in (".content", ".document")]


def two() -> tuple[Manifest, Manifest]:
    """A version, and one in which p80 is better and smaller, x4 is new, dense is gone and the seed is another."""
    before, _ = build_version(b"first")
    after, _ = build_version(b"second!", created=NOON + timedelta(hours=1), levels=("p80", "x4"))
    p80, x4 = after.levels
    better = p80.metrics.model_copy(update={"accuracy": p80.metrics.accuracy + 0.01})
    p80 = p80.model_copy(update={"metrics": better, "multiply_adds": p80.multiply_adds // 2})
    training = after.training.model_copy(update={"seed": 7, "hyperparameters": {"rate": 0.1}})
    return before, after.model_copy(update={"levels": (p80, x4), "training": training})
