"""A store in a folder: who may read or write it, several publishers at once, and publishers that die at any step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from model_store.errors import StoreError, StoreNotFoundError, VerificationError, VersionExistsError
from model_store.maintenance import collect_garbage
from model_store.manifest import Manifest
from model_store.storage.object_storage import TEMP_PREFIX
from model_store.store import Store
from tests.support.children import child
from tests.support.stores import NOON, Filled, build_version
from tests.support.waiting import HANG_S

Unprivileged = Callable[[], AbstractContextManager[None]]


def test_a_read_only_store_can_be_read_and_not_written(filled: Filled, unprivileged: Unprivileged) -> None:
    manifest, files = build_version(b"more", created=NOON + timedelta(hours=1))
    letters, letters_files = build_version(b"more", model="new-model")
    Path(filled.store.url).chmod(0o555)
    (Path(filled.store.url) / "digits").chmod(0o555)
    before = set(Path(filled.store.url).rglob("*"))
    with unprivileged():
        store = Store.open(Path("store"))
        store.verify("digits", store.resolve("digits"))
        for attempt in (
            lambda: store.publish(manifest, files),
            lambda: store.publish(letters, letters_files),
            lambda: store.set_alias("digits", "production", filled.old),
            lambda: Store.create(Path("store") / "below"),
        ):
            with pytest.raises(StoreError, match="Permission denied"):
                attempt()
    (Path(filled.store.url) / "digits").chmod(0o755)
    Path(filled.store.url).chmod(0o755)
    assert set(Path(filled.store.url).rglob("*")) == before


def test_what_may_not_be_read_is_an_error_of_the_store(filled: Filled, unprivileged: Unprivileged) -> None:
    root = Path(filled.store.url)
    manifest = filled.store.manifest("digits", filled.new)
    (root / "digits" / filled.new / "manifest.json").chmod(0)
    filled.level_file(filled.new).chmod(0)
    (root / "letters").chmod(0)
    # The root of a file system has such a folder; it is none of the store's.
    (root / "lost+found").mkdir(mode=0)
    with unprivileged():
        store = Store.open(Path("store"))
        store.verify("digits", filled.old)
        with pytest.raises(StoreError, match="Permission denied"):
            store.manifest("digits", filled.new)
        with pytest.raises(VerificationError, match="Permission denied"):
            store.read_level(manifest, "p80")
        with pytest.raises(StoreError, match="letters"):
            store.versions("letters")
    (root / "letters").chmod(0o755)
    with unprivileged():
        assert store.models() == ["digits", "letters"]
    root.chmod(0)
    with unprivileged():
        for path in (Path("store"), Path("store/below")):
            with pytest.raises(StoreNotFoundError, match=str(path)):
                Store.open(path)
    root.chmod(0o755)


PUBLISHERS = 6


def test_publishers_of_the_same_name_get_one_version_between_them(store: Store) -> None:
    """Different contents under one name: one publisher wins, and nothing of the others is mixed into its version."""
    name = build_version()[0].version
    built = [build_version(f"content {number}".encode()) for number in range(PUBLISHERS)]
    rivals = [(manifest.model_copy(update={"version": name}), files) for manifest, files in built]
    together = threading.Barrier(PUBLISHERS)

    def publish(version: tuple[Manifest, dict[str, bytes]]) -> bool:
        together.wait(HANG_S)
        try:
            store.publish(*version)
        except VersionExistsError:
            return False
        return True

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        won = list(threads.map(publish, rivals))
    assert won.count(True) == 1
    manifest, files = rivals[won.index(True)]
    assert store.versions("digits") == [name]
    assert store.verify("digits", name) == manifest
    assert {level: store.read_level(manifest, level) for level in files} == files
    assert collect_garbage(store) == []


FILES = ("manifest.json", "dense/model.onnx", "p80/model.onnx")
NOW = timedelta(seconds=-1)


def everything(store: Store) -> set[Path]:
    return set(Path(store.url).rglob("*"))


def assert_whole(store: Store, versions: set[str]) -> None:
    for version in versions:
        manifest = store.verify("digits", version)
        files = {path for path in Path(store.url, "digits", version).rglob("*") if path.is_file()}
        assert len([file for file in files if not file.name.startswith(TEMP_PREFIX)]) == 1 + len(manifest.levels)


def assert_collected_exactly(store: Store, versions: list[str]) -> list[str]:
    """Collection removes what was left behind, all of it, and nothing else."""
    aliases = store.aliases("digits")
    removed = collect_garbage(store, older_than=NOW)
    assert (store.versions("digits") if versions else []) == versions
    assert store.aliases("digits") == aliases
    files = {path for path in everything(store) if path.is_file()}
    known = {Path(store.url, "digits", version, name) for version in versions for name in FILES}
    assert {file for file in files if "aliases" not in file.parts} == known
    assert collect_garbage(store, older_than=NOW) == []
    return removed


@pytest.mark.slow
def test_a_kill_before_every_step(store: Store) -> None:
    """One publication and promotion after the other, each killed one step later, until one comes through."""
    outcomes = set()
    collected = list[str]()
    with child("nursery", store.url) as nursery:
        for step in count():
            before = store.versions("digits") if store.models() else []
            production = store.aliases("digits").get("production")
            nursery.say({"number": step, "step": step})
            diary = nursery.hear()
            (started,) = diary["started"]
            after = store.versions("digits") if store.models() else []
            assert after in (before, [*before, started])
            assert (after != before) >= bool(diary["done"])
            assert_whole(store, set(after))
            now = store.aliases("digits").get("production")
            assert now in (production, started if after != before else production)
            outcomes.add((after != before, now != production))
            if after:
                collected += assert_collected_exactly(store, after)
            if not diary["killed"]:
                break
    assert step > 20, "the steps of a publication were not seen"
    assert now == started
    assert collected
    assert outcomes == {(False, False), (True, False), (True, True)}


def test_collection_spares_a_living_publisher(store: Store) -> None:
    with child("stall", store.url) as publisher:
        assert publisher.hear() == "stalled"
        written = everything(store)
        assert sorted(path.parent.name for path in written if path.is_file()) == ["claims", "dense"]
        assert store.models() == []
        assert collect_garbage(store) == collect_garbage(store, dry_run=True) == []
        assert everything(store) == written
        publisher.say("go on")
        version = publisher.hear()
    assert store.versions("digits") == [version]
    assert_whole(store, {version})
    assert assert_collected_exactly(store, [version]) == []


def test_what_a_dead_publisher_left_is_used_by_the_next(store: Store) -> None:
    """Published again, a version is completed; the level that is there is not written a second time."""
    with child("stall", store.url) as dying:
        assert dying.hear() == "stalled"
        dying.process.kill()
        dying.process.wait(HANG_S)
    (left,) = [path for path in everything(store) if path.name == "model.onnx"]
    before = left.stat()
    manifest, files = build_version(b"stalled")
    store.publish(manifest, files)
    assert (left.stat().st_ino, left.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_whole(store, {manifest.version})
