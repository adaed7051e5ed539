"""Publishers that die: whatever the moment, the store is as it was or has the whole version."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from model_store.collection import collect
from model_store.store import STAGING_PREFIX, Store

PROJECT = Path(__file__).resolve().parents[2]
KILLS = 60
LONGEST_LIFE = 0.03  # seconds; a publication takes a few milliseconds
# Numbers of versions are times too; each publisher has this many seconds of its own.
LIFETIME_NUMBERS = 1000


class Child:
    """A process of `children.py` that is asked and answers in lines of JSON."""

    def __init__(self, mode: str, store: Store) -> None:
        command = [sys.executable, "-m", "tests.model_store.children", mode, str(store.root)]
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def say(self, document: Any) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document) + "\n")

    def hear(self) -> Any:
        """Wait for one line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with status {self.process.wait(10)}"
        return json.loads(line)


@contextmanager
def child(mode: str, store: Store) -> Iterator[Child]:
    """A child that does not outlive the block."""
    started = Child(mode, store)
    with started.process:
        try:
            yield started
        finally:
            started.process.kill()


def everything(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def left_behind(root: Path) -> list[Path]:
    """What the layout does not know, at the level of models."""
    return sorted(path for path in root.glob("*/*") if path.name.startswith(STAGING_PREFIX))


def assert_whole(store: Store, versions: set[str]) -> None:
    for version in versions:
        manifest = store.verify("digits", version)
        files = {path for path in (store.root / "digits" / version).rglob("*") if path.is_file()}
        assert len(files) == 1 + len(manifest.levels)


def assert_collected_exactly(store: Store, versions: list[str]) -> None:
    """Collection removes what was left behind, all of it, and nothing else."""
    leavings = left_behind(store.root)
    inside = {path for folder in leavings for path in [folder, *folder.rglob("*")]}
    before = everything(store.root)
    assert collect(store) == [str(path.relative_to(store.root)) for path in leavings]
    assert everything(store.root) == before - inside
    assert left_behind(store.root) == []
    assert store.versions("digits") == versions
    assert collect(store) == []


@pytest.mark.slow
def test_kills_at_random_moments(store: Store) -> None:
    chance = random.Random(2026)
    visible: set[str] = set()
    with child("nursery", store) as nursery, child("read", store) as reader:
        for kill in range(KILLS):
            nursery.say({"number": kill * LIFETIME_NUMBERS, "delay": chance.uniform(0, LONGEST_LIFE)})
            diary = nursery.hear()
            assert diary["killed"]
            now = set(store.versions("digits")) if store.models() else set()
            # What was there is there, what was reported done is there, and nothing that nobody began.
            assert visible | set(diary["done"]) <= now <= visible | set(diary["started"])
            assert len(diary["started"]) - len(diary["done"]) <= 1
            assert_whole(store, now - visible)
            assert set(store.aliases("digits").values()) <= now
            visible = now
        reader.say("enough")
        report = reader.hear()
    assert report["problems"] == []
    assert report["reads"] > KILLS
    assert report["versions"] > 1
    assert len(visible) > 1
    assert left_behind(store.root), "no kill hit a publication: the test is too slow to show anything"
    assert_collected_exactly(store, sorted(visible))
    assert_whole(store, visible)


@pytest.mark.slow
def test_a_kill_before_every_step(store: Store) -> None:
    """One publication and promotion after the other, each killed one step later, until one comes through."""
    outcomes = set()
    with child("nursery", store) as nursery:
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
                assert_collected_exactly(store, after)
            if not diary["killed"]:
                break
    assert step > 20, "the steps of a publication were not seen"
    assert now == started
    assert outcomes == {(False, False), (True, False), (True, True)}


def test_collection_spares_a_living_publisher(store: Store) -> None:
    with child("stall", store) as publisher:
        assert publisher.hear() == "stalled"
        staged = everything(store.root)
        (folder,) = left_behind(store.root)
        assert (folder / "dense" / "model.onnx").is_file()
        assert store.models() == []
        assert collect(store) == collect(store, dry_run=True) == []
        assert everything(store.root) == staged
        publisher.say("go on")
        version = publisher.hear()
    assert store.versions("digits") == [version]
    assert_whole(store, {version})
    assert_collected_exactly(store, [version])


def test_collection_clears_up_after_a_dead_publisher_beside_a_living_one(store: Store) -> None:
    with child("stall", store) as living, child("stall", store) as dying:
        assert (living.hear(), dying.hear()) == ("stalled", "stalled")
        assert len(left_behind(store.root)) == 2
        dying.process.kill()
        dying.process.wait(10)
        assert len(collect(store)) == 1
        assert len(left_behind(store.root)) == 1
        living.say("go on")
        version = living.hear()
    assert_whole(store, {version})
    assert left_behind(store.root) == []
