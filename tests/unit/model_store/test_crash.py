"""Publishers to a folder that die before any of their steps: the store is as it was or has the whole version."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from model_store.collection import collect
from model_store.objects import UNFINISHED
from model_store.store import Store
from tests.support.children import child
from tests.support.stores import build_version

FILES = ("manifest.json", "dense/model.onnx", "p80/model.onnx")
NOW = timedelta(seconds=-1)


def everything(store: Store) -> set[Path]:
    return set(Path(store.url).rglob("*"))


def assert_whole(store: Store, versions: set[str]) -> None:
    for version in versions:
        manifest = store.verify("digits", version)
        files = {path for path in Path(store.url, "digits", version).rglob("*") if path.is_file()}
        assert len([file for file in files if not file.name.startswith(UNFINISHED)]) == 1 + len(manifest.levels)


def assert_collected_exactly(store: Store, versions: list[str]) -> list[str]:
    """Collection removes what was left behind, all of it, and nothing else."""
    aliases = store.aliases("digits")
    removed = collect(store, older_than=NOW)
    assert (store.versions("digits") if versions else []) == versions
    assert store.aliases("digits") == aliases
    files = {path for path in everything(store) if path.is_file()}
    known = {Path(store.url, "digits", version, name) for version in versions for name in FILES}
    assert {file for file in files if "aliases" not in file.parts} == known
    assert collect(store, older_than=NOW) == []
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
        assert [path.name for path in written if path.is_file()] == ["model.onnx"]
        assert store.models() == []
        assert collect(store) == collect(store, dry_run=True) == []
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
        dying.process.wait(10)
    (left,) = [path for path in everything(store) if path.is_file()]
    before = left.stat()
    manifest, files = build_version(b"stalled")
    store.publish(manifest, files)
    assert (left.stat().st_ino, left.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_whole(store, {manifest.version})
