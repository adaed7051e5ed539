"""Claims: whoever writes into a version or removes it sees whoever does the other, and the dead hold nothing up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_store import claims
from model_store.aliases import next_change
from model_store.claims import Claim
from model_store.errors import NotInStoreError, StoreError, VersionExistsError
from model_store.listing import Kind
from model_store.maintenance import collect_garbage
from model_store.names import is_version_name
from model_store.signing import SigningKey
from model_store.storage.object_storage import ObjectInfo
from model_store.store import Store
from tests.support.keys import make_pair
from tests.support.stores import Filled, build_version

HOUR_S = 3600


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PAUSES_S", (0.0,))


def make(store: Store, version: str, kind: Kind) -> Claim:
    """A claim of somebody else, who has died or goes on."""
    return store.claim("digits", version, kind).__enter__()


def set_age(store: Store, claim: Claim, age_s: float) -> None:
    then = time.time() - age_s
    os.utime(Path(store.url, "digits", claim.name), (then, then))


def test_nothing_is_published_signed_or_promoted_while_it_is_removed(filled: Filled, tmp_path: Path) -> None:
    store, key = filled.store, SigningKey.read(make_pair(tmp_path, "publisher").private)
    manifest, files = build_version(b"more")
    make(store, manifest.version, "remove")
    make(store, filled.new, "remove")
    signed = store.manifest("digits", filled.new)
    for attempt in (
        lambda: store.publish(manifest, files),
        lambda: store.set_alias("digits", "production", filled.new),
        lambda: store.attach(signed, key.sign(signed)),
    ):
        with pytest.raises(StoreError, match="is being removed: try again"):
            attempt()
    assert manifest.version not in store.versions("digits")
    assert store.signature("digits", filled.new) is None
    store.set_alias("digits", "production", filled.old)


def test_nothing_is_removed_while_it_is_published_or_signed(filled: Filled) -> None:
    store = filled.store
    left = Path(store.url, "digits", "20200101-000000-000000", "dense", "model.onnx")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a publisher that goes on")
    os.utime(left, (1, 1))
    for version in (filled.new, left.parts[-3]):
        make(store, version, "write")
    with pytest.raises(StoreError, match="is being published or signed: try again later"):
        store.delete("digits", filled.new)
    assert collect_garbage(store) == []
    assert left.exists()
    store.verify("digits", filled.new)


@pytest.mark.parametrize("age_s", [2 * HOUR_S, -2 * HOUR_S])
def test_the_dead_hold_nothing_up(filled: Filled, age_s: float) -> None:
    """Whether their clock was behind or ahead."""
    store = filled.store
    for version, kind in ((filled.new, "write"), (filled.old, "remove")):
        set_age(store, make(store, version, kind), age_s)  # type: ignore[arg-type]
    store.set_alias("digits", "production", filled.old)
    store.delete("digits", filled.new)
    assert store.versions("digits") == [filled.old]
    assert len(collect_garbage(store)) == 2
    assert not Path(store.url, "digits", "claims").exists()


def test_what_an_alias_may_fall_back_to_stays(filled: Filled) -> None:
    """While the version of an alias is being removed, nobody removes the one before it."""
    store = filled.store
    for version in (filled.old, filled.new):
        store.set_alias("digits", "production", version)
    make(store, filled.new, "remove")
    with pytest.raises(StoreError, match="is production: promote another version first"):
        store.delete("digits", filled.old)


def test_a_promotion_of_what_went_leaves_no_trace(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not revived when the version is published again."""
    store = filled.store
    write = store.objects.write

    def write_late(name: str, data: bytes, *, new: bool = False) -> None:
        Store.open(store.url).delete("digits", filled.new)
        monkeypatch.undo()
        write(name, data, new=new)

    monkeypatch.setattr(store.objects, "write", write_late)
    with pytest.raises(NotInStoreError, match="no version"):
        store.set_alias("digits", "production", filled.new)
    assert store.listing("digits").changes == []


def test_a_claim_is_renewed_and_checked_again(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = filled.store, [0.0]
    monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: None))
    with store.claim("digits", filled.new, "write") as claim:
        first = claim.name
        claim.keep()
        assert claim.name == first
        clock[0] = HOUR_S / 2
        claim.keep()
        assert [each.name for each in store.listing("digits").claims] == [claim.name] != [first]
        make(store, filled.new, "remove")
        clock[0] = HOUR_S
        with pytest.raises(StoreError, match="is being removed"):
            claim.keep()
    assert [each.kind for each in store.listing("digits").claims] == ["remove"]


def test_files_that_were_removed_from_a_publisher_that_stood_still_are_written_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than its claim lasts, beside collection that began before its manifest was there."""
    manifest, files = build_version()
    write = store.objects.write

    def write_slowly(name: str, data: bytes, *, new: bool = False) -> None:
        write(name, data, new=new)
        if name.endswith("manifest.json"):
            store.objects.delete(f"digits/{manifest.version}/dense/model.onnx")

    monkeypatch.setattr(store.objects, "write", write_slowly)
    store.publish(manifest, files)
    store.verify("digits", manifest.version)
    with pytest.raises(VersionExistsError):
        store.publish(manifest, files)


def tear(store: Store, monkeypatch: pytest.MonkeyPatch, listings: int, meanwhile: Callable[[], object]) -> None:
    """Let others act while `store` lists a model for the n-th time: versions were read before it, the rest after it."""
    listed, count = store.objects.list_objects, [0]

    def list_objects(prefix: str) -> Iterator[ObjectInfo]:
        count[0] += 1
        before = list(listed(prefix))
        if count[0] != listings:
            return iter(before)
        meanwhile()
        versions = [found for found in before if is_version_name(found.name.split("/")[1])]
        return iter(versions + [found for found in listed(prefix) if not is_version_name(found.name.split("/")[1])])

    monkeypatch.setattr(store.objects, "list_objects", list_objects)


def test_a_deletion_is_not_decided_by_one_torn_listing(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile another deletion ends, of a version to which the alias seems to have moved."""
    store, other = filled.store, Store.open(filled.store.url)
    store.set_alias("digits", "production", filled.old)

    def meanwhile() -> None:
        change = next_change("production", filled.new, other.listing("digits").changes, filled.old, "ann")
        other.delete("digits", filled.new)
        other.objects.write(f"digits/{change.name}", change.to_json())

    tear(store, monkeypatch, 1, meanwhile)
    with pytest.raises(StoreError, match="is production"):
        store.delete("digits", filled.old)
    assert other.aliases("digits") == {"production": filled.old}


def test_a_promotion_is_not_decided_by_one_torn_listing(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the deletion ends that had not seen the promotion, and takes its claim with it."""
    store, other = filled.store, Store.open(filled.store.url)

    def meanwhile() -> None:
        for found in other.listing("digits").objects_of(filled.new):
            other.objects.delete(found.name)

    tear(store, monkeypatch, 2, meanwhile)
    with pytest.raises(NotInStoreError, match="no version"):
        store.set_alias("digits", "production", filled.new)
    assert other.aliases("digits") == {}


def test_collection_is_not_decided_by_one_torn_listing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile a publisher writes its manifest, and takes its claim with it."""
    other = Store.open(store.url)
    manifest, files = build_version()
    for level, data in files.items():
        other.objects.write(f"digits/{manifest.version}/{level}/model.onnx", data)
    for path in Path(store.url, "digits", manifest.version).rglob("*"):
        os.utime(path, (1, 1))

    def meanwhile() -> None:
        other.objects.write(f"digits/{manifest.version}/manifest.json", manifest.to_json())

    tear(store, monkeypatch, 2, meanwhile)
    assert collect_garbage(store) == []
    other.verify("digits", manifest.version)
