"""The store: what is published is what is read, once, whole, and by the name it was given."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import (
    InvalidNameError,
    ManifestError,
    NotInStoreError,
    StoreError,
    StoreNotFoundError,
    VerificationError,
    VersionExistsError,
)
from model_store.store import Store
from tests.model_store.conftest import Filled
from tests.model_store.versions import build_version

ABSENT = "20200101-000000-000000"


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Everything under `root`: path to content, None for a folder."""
    return {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in root.rglob("*")}


def test_what_is_published_is_what_is_read(store: Store) -> None:
    manifest, files = build_version(b"weights")
    store.publish(manifest, files)
    reopened = Store.open(Path(store.url))
    assert reopened.models() == ["digits"]
    assert reopened.versions("digits") == [manifest.version]
    assert reopened.manifest("digits", manifest.version) == manifest
    assert {level: reopened.read_level(manifest, level) for level in files} == files
    assert reopened.verify("digits", manifest.version) == manifest


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


def test_versions_are_listed_oldest_first(filled: Filled) -> None:
    assert filled.old < filled.new
    assert filled.store.versions("digits") == [filled.old, filled.new]
    assert filled.store.models() == ["digits", "letters"]


def test_a_version_is_immutable(filled: Filled) -> None:
    before = snapshot(Path(filled.store.url))
    same, same_files = build_version(b"first")
    other, other_files = build_version(b"other")
    other = other.model_copy(update={"version": filled.old})
    for manifest, files in [(same, same_files), (other, other_files)]:
        with pytest.raises(VersionExistsError, match=filled.old):
            filled.store.publish(manifest, files)
    assert snapshot(Path(filled.store.url)) == before


def test_publish_checks_the_files_against_the_manifest(store: Store) -> None:
    manifest, files = build_version()
    with pytest.raises(VerificationError, match="p80"):
        store.publish(manifest, files | {"p80": files["p80"][:-1] + b"!"})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, {"dense": files["dense"]})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, files | {"p99": b"more"})
    assert snapshot(Path(store.url)) == {}


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


# Which version a name means


def test_resolve(filled: Filled) -> None:
    store = filled.store
    assert store.resolve("digits") == filled.new
    assert store.resolve("digits", filled.old) == filled.old
    assert store.set_alias("digits", "candidate", filled.new) == filled.new
    assert store.resolve("digits", "candidate") == filled.new
    store.set_alias("digits", "production", filled.old)
    assert store.resolve("digits") == filled.old
    assert store.resolve("letters") == filled.letters


def test_an_alias_of_an_alias_means_what_that_means_now(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "candidate", filled.old)
    assert store.set_alias("digits", "production", "candidate") == filled.old
    store.set_alias("digits", "candidate", filled.new)
    assert store.aliases("digits") == {"candidate": filled.new, "production": filled.old}
    assert store.aliases("letters") == {}


def test_what_is_not_there_is_answered_with_what_is(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "candidate", filled.new)
    with pytest.raises(NotInStoreError, match=r"no model 'cifar'.*digits, letters"):
        store.resolve("cifar")
    with pytest.raises(NotInStoreError, match=f"'production'.*{filled.old}, {filled.new}, candidate"):
        store.resolve("digits", "production")
    with pytest.raises(NotInStoreError, match=f"'{ABSENT}'.*{filled.old}, {filled.new}"):
        store.manifest("digits", ABSENT)
    manifest = store.manifest("digits", filled.new)
    with pytest.raises(NotInStoreError, match=r"'p99'.*dense, p80"):
        store.read_level(manifest, "p99")
    with pytest.raises(NotInStoreError, match="no model"):
        store.set_alias("cifar", "production", filled.new)
    for name in (filled.letters, ABSENT, "../digits"):
        with pytest.raises(NotInStoreError, match="no version or alias"):
            store.set_alias("digits", "production", name)
    assert store.aliases("digits") == {"candidate": filled.new}
    with pytest.raises(NotInStoreError, match="none"):
        Store.create(Path(store.url) / "digits" / "empty").versions("digits")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../store", "a\0", "aliases/..", ".write-0"])
def test_names_that_are_paths_are_refused(filled: Filled, name: str) -> None:
    for attempt in (filled.store.versions, filled.store.aliases, filled.store.resolve):
        with pytest.raises(InvalidNameError):
            attempt(name)
    with pytest.raises(InvalidNameError):
        filled.store.manifest(name, filled.new)
    with pytest.raises(InvalidNameError):
        filled.store.set_alias(name, "production", filled.new)
    with pytest.raises(InvalidNameError):
        filled.store.set_alias("digits", name, filled.new)
    manifest, files = build_version()
    with pytest.raises(InvalidNameError):
        filled.store.publish(manifest.model_copy(update={"model": name}), files)


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


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schema_version": 3}', b"\0" * 64])
def test_a_damaged_manifest_hides_no_other_version(filled: Filled, damage: bytes) -> None:
    (Path(filled.store.url) / "digits" / filled.new / "manifest.json").write_bytes(damage)
    with pytest.raises(ManifestError):
        filled.store.verify("digits", filled.new)
    filled.store.verify("digits", filled.old)
    filled.store.verify("letters", filled.letters)


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
        lambda: filled.store.history("digits"),
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
