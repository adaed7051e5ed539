"""What is published is there whole or not at all, is sent once, and moves from store to store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from model_store.errors import OtherClassesError, StoreError, VerificationError, VersionExistsError
from model_store.manifest import MANIFEST
from model_store.publishing import MIN_COPY_BYTES
from model_store.store import Store
from model_store.transfer import transfer
from tests.support.stores import NOON, Filled, build_version, snapshot


def test_what_is_published_is_what_is_read(store: Store) -> None:
    manifest, files = build_version(b"weights")
    store.publish(manifest, files)
    reopened = Store.open(store.url)
    assert reopened.models() == ["digits"]
    assert reopened.versions("digits") == [manifest.version]
    assert reopened.manifest("digits", manifest.version) == manifest
    assert {level: reopened.read_level(manifest, level) for level in files} == files
    assert reopened.verify("digits", manifest.version) == manifest


def test_a_version_is_immutable(filled: Filled) -> None:
    before = snapshot(filled.store)
    same, same_files = build_version(b"first")
    other, other_files = build_version(b"other")
    other = other.model_copy(update={"version": filled.old})
    for manifest, files in [(same, same_files), (other, other_files)]:
        with pytest.raises(VersionExistsError, match=filled.old):
            filled.store.publish(manifest, files)
    assert snapshot(filled.store) == before


def test_publish_checks_the_files_against_the_manifest(store: Store) -> None:
    manifest, files = build_version()
    with pytest.raises(VerificationError, match="p80"):
        store.publish(manifest, files | {"p80": files["p80"][:-1] + b"!"})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, {"dense": files["dense"]})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, files | {"p99": b"more"})
    assert snapshot(store) == {}


def test_a_publication_goes_on_where_it_broke_off(store: Store) -> None:
    """What is there is not sent again; what is there under the version's name and is something else is refused."""
    manifest, files = build_version(b"weights")
    store.objects.write(f"digits/{manifest.version}/dense/model.onnx", files["dense"])
    before = next(store.objects.list_objects("digits/"))
    store.publish(manifest, files)
    assert next(store.objects.list_objects("digits/")) == before
    assert store.verify("digits", manifest.version) == manifest
    other, other_files = build_version(b"others")
    store.objects.write(f"digits/{other.version}/dense/model.onnx", b"!" * len(other_files["dense"]))
    with pytest.raises(VersionExistsError):
        store.publish(other, other_files)
    assert store.versions("digits") == [manifest.version]


def test_a_version_with_a_level_that_another_has(store: Store) -> None:
    """By copy where the backend can, else by sending it: it is there twice, and outlives the other."""
    first, files = build_version(b"weights" * MIN_COPY_BYTES)
    store.publish(first, files)
    second = first.model_copy(update={"version": "20300101-000000-abcdef"})
    store.publish(second, files)
    store.delete("digits", first.version)
    assert store.verify("digits", second.version) == second


def test_other_classes_are_published_only_when_asked_for(store: Store) -> None:
    """Compared with the newest version that can be read; a version that is there is that before all else."""
    first, files = build_version(b"first")
    other, other_files = build_version(b"other", created=NOON + timedelta(hours=1))
    other = other.model_copy(update={"classes": first.classes[::-1]})
    store.publish(first, files)
    before = snapshot(store)
    with pytest.raises(
        OtherClassesError, match=rf"digits {first.version}, its newest version: in another order; .*--new"
    ):
        store.publish(other, other_files)
    with pytest.raises(OtherClassesError):
        store.check_classes("digits", other.classes)
    assert snapshot(store) == before
    store.check_classes("digits", first.classes)
    store.check_classes("letters", other.classes)
    store.publish(other, other_files, new_classes=True)
    with pytest.raises(VersionExistsError):
        store.publish(first, files)
    again, again_files = build_version(b"again", created=NOON + timedelta(hours=2))
    with pytest.raises(OtherClassesError, match=other.version):
        store.publish(again, again_files)
    store.objects.write(f"digits/{other.version}/{MANIFEST}", b"{")
    store.publish(again, again_files)
    assert store.versions("digits") == [first.version, other.version, again.version]


def test_transfer(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> None:
    """To a folder and back, under the same name."""
    other = Store.create(tmp_path_factory.mktemp("other"))
    manifest, sent = transfer(filled.store, other, "digits", filled.old)
    assert (sent, transfer(filled.store, other, "digits", filled.old)[1]) == (True, False)
    filled.store.delete("digits", filled.old)
    transfer(other, filled.store, "digits", filled.old)
    assert filled.store.verify("digits", filled.old) == manifest
