"""The store in a folder: what the folder `contract` does not ask of every backend."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import StoreError, StoreNotFoundError
from model_store.store import Store
from tests.support.stores import Filled, build_version

ABSENT = "20200101-000000-000000"


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Everything under `root`: path to content, None for a folder."""
    return {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in root.rglob("*")}


def test_the_layout_is_the_documented_one(store: Store) -> None:
    manifest, files = build_version(b"weights")
    store.publish(manifest, files)
    store.set_alias("digits", "production", manifest.version)
    folder = f"digits/{manifest.version}"
    (change,) = store.history("digits")
    assert snapshot(Path(store.url)) == {
        "digits": None,
        "digits/aliases": None,
        "digits/aliases/production": None,
        f"digits/{change.name}": change.to_json(),
        folder: None,
        f"{folder}/manifest.json": manifest.to_json(),
        f"{folder}/dense": None,
        f"{folder}/dense/model.onnx": files["dense"],
        f"{folder}/p80": None,
        f"{folder}/p80/model.onnx": files["p80"],
    }


def test_everything_is_on_the_disk_before_the_version_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is flushed before it gets its name, the manifest last; each folder after something in it got a name."""
    happened: list[tuple[str, Path]] = []
    fsync, link, mkdir = os.fsync, os.link, Path.mkdir

    def recording_fsync(descriptor: int) -> None:
        fsync(descriptor)
        happened.append(("flushed", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    def recording_link(source: Path, target: Path) -> None:
        assert ("flushed", source) in happened
        link(source, target)
        happened.append(("named", target))

    def recording_mkdir(self: Path, *arguments: Any, **named: Any) -> None:
        mkdir(self, *arguments, **named)
        happened.append(("named", self))

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "link", recording_link)
    monkeypatch.setattr(Path, "mkdir", recording_mkdir)
    store.publish(*build_version())
    named = [path for what, path in happened if what == "named"]
    assert [path.name for path in named if path.is_file()] == ["model.onnx", "model.onnx", "manifest.json"]
    for path in named:
        assert ("flushed", path.parent) in happened[happened.index(("named", path)) :]
    assert named[-1].name == "manifest.json"


# What lies in the store and should not


@pytest.mark.parametrize("place", ["digits/20200101-000000-000000", "letters/VERSION"])
def test_a_manifest_in_a_wrong_folder_is_refused(filled: Filled, place: str) -> None:
    model, version = place.replace("VERSION", filled.old).split("/")
    shutil.copytree(Path(filled.store.url) / "digits" / filled.old, Path(filled.store.url) / model / version)
    assert version in filled.store.versions(model)
    with pytest.raises(StoreError, match=f"manifest of {model} {version} is that of digits {filled.old}"):
        filled.store.verify(model, version)
    filled.store.verify("digits", filled.old)


def test_folders_without_a_manifest_and_foreign_files_are_no_versions(filled: Filled) -> None:
    before = {model: filled.store.versions(model) for model in filled.store.models()}
    root = Path(filled.store.url)
    (root / "digits" / ABSENT / "p80").mkdir(parents=True)
    (root / "digits" / ABSENT / "p80" / "model.onnx").write_bytes(b"copied so far")
    (root / "digits" / "20200101-000001-000000").write_bytes(b"a file")
    (root / "digits" / "notes.txt").write_text("hello")
    (root / "empty").mkdir()
    (root / "README.md").write_text("hello")
    # A folder that cannot name a model, whatever is in it.
    shutil.copytree(root / "digits" / filled.old, root / "My Models" / filled.old)
    shutil.copytree(root / "digits" / filled.old, root / ".trash" / filled.old)
    assert {model: filled.store.versions(model) for model in filled.store.models()} == before


# The store itself


def test_a_missing_store(tmp_path: Path) -> None:
    for missing in (tmp_path / "missing", tmp_path / ("x" * 300)):
        with pytest.raises(StoreNotFoundError, match=missing.name):
            Store.open(missing)
    assert Store.create(tmp_path / "a" / "b").models() == []
    assert Store.open(tmp_path / "a" / "b").models() == []


def test_a_store_path_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("not a store")
    with pytest.raises(StoreNotFoundError, match=str(path)):
        Store.open(path)
    with pytest.raises(StoreError, match=str(path)):
        Store.create(path)
    with pytest.raises(StoreError):
        Store.create(path / "below")


def test_messages_name_no_paths(filled: Filled) -> None:
    filled.level_file(filled.new).unlink()
    filled.store.set_alias("digits", "production", filled.old)
    next(Path(filled.store.url).rglob("aliases/*/*")).write_text("{}")
    for attempt in (
        lambda: filled.store.verify("digits", filled.new),
        lambda: filled.store.versions("cifar"),
        lambda: filled.store.publish(*build_version(b"first")),
    ):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert str(Path(filled.store.url)) not in str(caught.value)


def test_no_room(filled: Filled) -> None:
    """Where the disk takes no more the message says so, and the store is as it was."""
    before = snapshot(Path(filled.store.url))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    manifest, files = build_version(b"weights" * 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match="cannot publish digits: File too large"):
            filled.store.publish(manifest, files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(Path(filled.store.url)) == before
