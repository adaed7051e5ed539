"""Versions to publish in tests: the golden manifest's figures, with small files of known content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.manifest import Manifest
from model_store.version import version_name

GOLDEN = Path(__file__).parent / "golden" / "manifest-v3.json"
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
