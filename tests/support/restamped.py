"""Versions under another name: their files must say of themselves what their manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from model_store.manifest import Manifest, read_manifest
from model_store.manifest.integrity import sha256
from model_store.store import Store
from pruning.graph.onnx_export import stamp


def renamed(manifest: Manifest, files: Mapping[str, bytes], **names: str) -> tuple[Manifest, dict[str, bytes]]:
    """A version under another `model` or `version`, with its files by level."""
    manifest = manifest.model_copy(update=names)
    stamped = {
        name: stamp(onnx.load_model_from_string(data), manifest.model, manifest.version, name)
        for name, data in files.items()
    }
    return replaced(manifest, stamped), stamped


def replaced(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """The manifest of other files, by level: with their sizes and checksums."""
    entries = [
        level.model_copy(update={"bytes": len(files[level.name]), "sha256": sha256(files[level.name])})
        for level in manifest.levels
    ]
    return manifest.model_copy(update={"levels": tuple(entries)})


def rename(folder: Path, **names: str) -> None:
    """The same for a version that lies in a folder."""
    manifest = read_manifest((folder / "manifest.json").read_bytes())
    files = {level.name: (folder / level.file).read_bytes() for level in manifest.levels}
    manifest, files = renamed(manifest, files, **names)
    for level in manifest.levels:
        (folder / level.file).write_bytes(files[level.name])
    (folder / "manifest.json").write_text(manifest.to_json().decode())


def publish(store: Store, number: int) -> str:
    """The oldest version again under another digest, its pixels a little brighter, which makes other answers."""
    first = min(store.versions("digits"))
    manifest = store.manifest("digits", first)
    bright = 1 + 0.01 * (number + 1)
    files = {level.name: brightened(store.read_level(manifest, level.name), bright) for level in manifest.levels}
    version = f"20300101-000000-{number:06x}"
    store.publish(*renamed(manifest, files, version=version), new_classes=True)
    return version


SECOND = "20301231-235959-abcdef"


def change_manifest(store: Path, **changes: Any) -> None:
    """Rewrite keys of the second version's manifest."""
    path = store / "digits" / SECOND / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_levels(store: Path, **changes: Any) -> None:
    """Rewrite keys of every level in the second version's manifest."""
    path = store / "digits" / SECOND / "manifest.json"
    change_manifest(store, levels=[level | changes for level in json.loads(path.read_text())["levels"]])


def alter(store: Path, level: str) -> None:
    """Change one byte of a level of the second version."""
    path = store / "digits" / SECOND / level / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def brightened(data: bytes, factor: float) -> bytes:
    """A level's file with its pixels multiplied."""
    network = onnx.load_model_from_string(data)
    (pixels,) = (each for each in network.graph.initializer if each.name == "pixels.factor")
    scaled = onnx.numpy_helper.to_array(pixels) * np.float32(factor)
    pixels.CopyFrom(onnx.numpy_helper.from_array(scaled, pixels.name))
    brighter: bytes = network.SerializeToString(deterministic=True)
    return brighter


def overflow(store: Path, factor: float = 1e38) -> None:
    """Multiply the pixels of every level of the only version of digits: all but black images overflow its networks."""
    (folder,) = (path for path in (store / "digits").iterdir() if (path / "manifest.json").exists())
    manifest = read_manifest((folder / "manifest.json").read_bytes())
    files = {level.name: brightened((folder / level.file).read_bytes(), factor) for level in manifest.levels}
    for level in manifest.levels:
        (folder / level.file).write_bytes(files[level.name])
    (folder / "manifest.json").write_text(replaced(manifest, files).to_json().decode())
