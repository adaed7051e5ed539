"""Publishers that die: whatever the moment, the store is as it was or has the whole version."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from model_store.collection import collect
from model_store.objects import UNFINISHED
from model_store.store import Store
from tests.model_store.versions import build_version

PROJECT = Path(__file__).resolve().parents[2]
KILLS = 60
FILES = ("manifest.json", "dense/model.onnx", "p80/model.onnx")
LONGEST_LIFE = 0.03  # seconds; a publication takes a few milliseconds
# Numbers of versions are times too; each publisher has this many seconds of its own.
LIFETIME_NUMBERS = 1000


class Child:
    """A process of `children.py` that is asked and answers in lines of JSON."""

    def __init__(self, mode: str, store: Store) -> None:
        command = [sys.executable, "-m", "tests.model_store.children", mode, store.url]
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


def everything(store: Store) -> set[Path]:
    return set(Path(store.url).rglob("*"))


def assert_whole(store: Store, versions: set[str]) -> None:
    for version in versions:
        manifest = store.verify("digits", version)
        files = {path for path in Path(store.url, "digits", version).rglob("*") if path.is_file()}
        assert len([file for file in files if not file.name.startswith(UNFINISHED)]) == 1 + len(manifest.levels)


def collect_all(store: Store) -> list[str]:
    """Collect as if nobody had been at work for an hour."""
    return collect(store, older_than=timedelta(seconds=-1))


def assert_collected_exactly(store: Store, versions: list[str]) -> list[str]:
    """Collection removes what was left behind, all of it, and nothing else."""
    aliases = store.aliases("digits")
    removed = collect_all(store)
    assert (store.versions("digits") if versions else []) == versions
    assert store.aliases("digits") == aliases
    files = {path for path in everything(store) if path.is_file()}
    known = {Path(store.url, "digits", version, name) for version in versions for name in FILES}
    assert {file for file in files if "aliases" not in file.parts} == known
    assert collect_all(store) == []
    return removed


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
    removed = assert_collected_exactly(store, sorted(visible))
    assert removed, "no kill hit a publication: the test is too slow to show anything"
    assert_whole(store, visible)


@pytest.mark.slow
def test_a_kill_before_every_step(store: Store) -> None:
    """One publication and promotion after the other, each killed one step later, until one comes through."""
    outcomes = set()
    collected = list[str]()
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
                collected += assert_collected_exactly(store, after)
            if not diary["killed"]:
                break
    assert step > 20, "the steps of a publication were not seen"
    assert now == started
    assert collected
    assert outcomes == {(False, False), (True, False), (True, True)}


def test_collection_spares_a_living_publisher(store: Store) -> None:
    with child("stall", store) as publisher:
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
    with child("stall", store) as dying:
        assert dying.hear() == "stalled"
        dying.process.kill()
        dying.process.wait(10)
    (left,) = [path for path in everything(store) if path.is_file()]
    before = left.stat()
    manifest, files = build_version(b"stalled")
    store.publish(manifest, files)
    assert (left.stat().st_ino, left.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_whole(store, {manifest.version})
