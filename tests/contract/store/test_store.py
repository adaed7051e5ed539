"""What is read of a store: objects and versions. What is damaged is refused, and hides nothing else."""

from __future__ import annotations

import pytest

from model_store.errors import InvalidNameError, ManifestError, NotInStoreError, ObjectNotFoundError, VerificationError
from model_store.store import Store
from tests.support.backends import Place
from tests.support.stores import Filled, build_version, snapshot

ABSENT = "20200101-000000-000000"


# Objects


def test_an_object_is_what_was_written(store: Store) -> None:
    objects = store.objects
    for name, data in {"digits/a/empty": b"", "digits/b": b"b" * 3_000_000, "letters/c.json": b"{}"}.items():
        objects.write(name, data, new=True)
        assert objects.read(name, len(data) + 1) == data
        assert objects.read(name, 1) == data[:1]
    assert [(found.name, found.size) for found in objects.list_objects("digits/")] == [
        ("digits/a/empty", 0),
        ("digits/b", 3_000_000),
    ]
    assert objects.folders() == ["digits", "letters"]
    objects.write("digits/b", b"other")
    assert objects.read("digits/b", 100) == b"other"
    for name in ("digits/b", "digits/a/empty", "digits/none"):
        objects.delete(name)
    assert list(objects.list_objects("digits/")) == []
    assert list(objects.list_objects("none/")) == []
    with pytest.raises(ObjectNotFoundError):
        objects.read("digits/b", 1)


# Versions


def test_an_empty_store(place: Place) -> None:
    assert Store.create(place.url).models() == []
    with pytest.raises(NotInStoreError, match=r"no model 'digits' in the store: it has none"):
        Store.open(place.url).versions("digits")


def test_versions_are_listed_oldest_first(filled: Filled) -> None:
    assert filled.old < filled.new
    assert filled.store.versions("digits") == [filled.old, filled.new]
    assert filled.store.models() == ["digits", "letters"]


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


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../store", "a\0", "aliases/..", ".write-0"])
def test_names_that_are_paths_are_refused(store: Store, name: str) -> None:
    for attempt in (store.versions, store.aliases, store.resolve):
        with pytest.raises(InvalidNameError):
            attempt(name)
    manifest, files = build_version()
    for attempt in (
        lambda: store.manifest(name, manifest.version),
        lambda: store.set_alias(name, "production", manifest.version),
        lambda: store.set_alias("digits", name, manifest.version),
        lambda: store.publish(manifest.model_copy(update={"model": name}), files),
    ):
        with pytest.raises(InvalidNameError):
            attempt()
    assert snapshot(store) == {}


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schema_version": 4}', b"\0" * 64])
def test_a_damaged_manifest_hides_no_other_version(filled: Filled, damage: bytes) -> None:
    filled.store.objects.write(f"digits/{filled.new}/manifest.json", damage)
    with pytest.raises(ManifestError):
        filled.store.verify("digits", filled.new)
    filled.store.verify("digits", filled.old)
    filled.store.verify("letters", filled.letters)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(b"p80:secono", "altered"), (b"p80", "has 3 bytes"), (b"", "has 0 bytes"), (b"p80:second!", "has more bytes")],
)
def test_a_damaged_level_is_refused_and_all_else_is_readable(filled: Filled, damage: bytes, message: str) -> None:
    store = filled.store
    manifest = store.manifest("digits", filled.new)
    store.objects.write(f"digits/{filled.new}/p80/model.onnx", damage)
    with pytest.raises(VerificationError, match=f"level p80 .*{message}"):
        store.verify("digits", filled.new)
    assert store.read_level(manifest, "dense") == b"dense:second"
    store.verify("digits", filled.old)


def test_a_missing_level_is_refused(filled: Filled) -> None:
    filled.store.objects.delete(f"digits/{filled.new}/p80/model.onnx")
    with pytest.raises(VerificationError, match="level p80 cannot be read"):
        filled.store.verify("digits", filled.new)
