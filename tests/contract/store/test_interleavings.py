"""Commands that cross at any step, killed at any step: versions are whole or absent, and nothing done is lost.

STORE_INTERLEAVINGS=2000 in the environment tries so many, on servers a twentieth. A failure names its number, and
STORE_INTERLEAVING=NUMBER repeats that one alone.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_store import claims
from model_store.errors import StoreError
from model_store.maintenance import collect_garbage, superseded
from model_store.signing import SIGNATURE, SigningKey
from model_store.storage.location import open_storage
from model_store.store import Store
from model_store.transfer import transfer
from tests.support.backends import SERVERS, Place
from tests.support.interleaving import SteppedStorage, Worker, interleave, step, stepping_below
from tests.support.keys import make_pair
from tests.support.stores import NOON, build_version

INTERLEAVINGS = int(os.environ.get("STORE_INTERLEAVINGS", "200"))
ONLY = os.environ.get("STORE_INTERLEAVING")
NUMBERS = [int(ONLY)] if ONLY else range(INTERLEAVINGS)
BUILT = [build_version(f"content {n}".encode(), created=NOON + timedelta(minutes=n)) for n in range(4)]
VERSIONS = [manifest.version for manifest, _ in BUILT]
FILES = ("dense/model.onnx", "manifest.json", "p80/model.onnx")
NOW = timedelta(seconds=-1)
# A command of most kinds has taken as many steps by then.
LATEST_DEATH, LATEST_DEATH_REMOTE = 120, 14


@dataclass
class World:
    """A store under test: `open` gives each command a store of its own, `source` has every version."""

    open: Callable[[], Store]
    source: Store
    key: SigningKey

    def command(self, kind: str, version: int) -> Callable[[], object]:
        """Return a command to run."""
        store, name = self.open(), VERSIONS[version]
        manifest, files = BUILT[version]
        commands: dict[str, Callable[[], object]] = {
            "publish": lambda: store.publish(manifest, files),
            "pull": lambda: transfer(self.source, store, "digits", name),
            "promote": lambda: store.set_alias("digits", "production", name),
            "unalias": lambda: store.remove_alias("digits", "production"),
            "delete": lambda: store.delete("digits", name),
            "gc": lambda: collect_garbage(store),
            "keep": lambda: keep_newest(store),
            "sign": lambda: store.attach(manifest, self.key.sign(manifest)),
        }
        return commands[kind]


# Those that cross worst are drawn more often.
KINDS = ("publish", "publish", "pull", "promote", "promote", "unalias", "delete", "delete", "delete", "gc", "gc", "keep", "sign")


def keep_newest(store: Store) -> None:
    """As `slimbayes models gc --keep 1` does."""
    for version in superseded(store.listing("digits"), 1):
        try:
            store.delete("digits", version)
        except StoreError:
            continue


def chooser(chance: random.Random) -> Callable[[list[str]], str]:
    """Pick who is next: between changes at every step and long runs of one command."""
    again, last = chance.choice([0.0, 0.5, 0.9, 0.97]), [""]

    def choose(running: list[str]) -> str:
        if last[0] not in running or chance.random() > again:
            last[0] = chance.choice(running)
        return last[0]

    return choose


def state(store: Store) -> tuple[set[str], str | None]:
    listing = store.listing("digits")
    return set(listing.versions), listing.aliases.get("production")


def run_round(world: World, chance: random.Random, look: Callable[[], None], latest: int, told: Counter[str]) -> None:
    """Two or three commands at once; afterwards all that was reported as done must be so."""
    before, alias = state(world.open())
    drawn = [(chance.choice(KINDS), chance.randrange(len(BUILT))) for _ in range(chance.choice([2, 2, 3]))]
    workers = {
        f"{number} {kind} {version}": Worker(
            world.command(kind, version), chance.randrange(latest) if chance.random() < 0.3 else None
        )
        for number, (kind, version) in enumerate(drawn)
    }
    interleave(workers, chooser(chance), look)
    for name, worker in workers.items():
        if worker.failure is not None:
            raise AssertionError(f"{name} failed among {list(workers)}") from worker.failure
        told[f"{name.split()[1]} {worker.outcome if worker.outcome in ('done', 'killed') else 'refused'}"] += 1
    check_round(world.open(), before, alias, drawn, [worker.outcome for worker in workers.values()])


def check_round(
    store: Store, before: set[str], alias: str | None, drawn: list[tuple[str, int]], outcomes: list[str]
) -> None:
    versions, now = state(store)
    story = [(kind, VERSIONS[version], outcome) for (kind, version), outcome in zip(drawn, outcomes, strict=True)]
    for version in versions:
        store.verify("digits", version)
    done = {(kind, version) for kind, version, outcome in story if outcome == "done"}
    maybe = done | {(kind, version) for kind, version, outcome in story if outcome == "killed"}
    came = {version for kind, version in maybe if kind in ("publish", "pull")}
    went = {version for kind, version in maybe if kind == "delete"}
    went |= set(VERSIONS) if any(kind == "keep" for kind, _ in maybe) else set()
    assert before - went <= versions <= before | came, story
    for kind, version in done:
        if kind in ("publish", "pull"):
            assert version in versions | went, story
        elif kind == "delete":
            assert version not in versions or version in came, story
        elif kind == "sign" and version in versions - came:
            assert store.signature("digits", version) is not None, story
    # An alias that was being set while its version was being removed may have come to be set.
    maybe |= {(kind, version) for kind, version, outcome in story if "is being removed" in outcome}
    targets = {
        sure: {None if kind == "unalias" else version for kind, version in some if kind in ("promote", "unalias")}
        for sure, some in ((True, done), (False, maybe))
    }
    assert now in (targets[False] if targets[True] else {alias, *targets[False]}), story


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is a step, and nothing is written for the power failures that do not come."""
    monkeypatch.setattr(claims, "time", SimpleNamespace(sleep=step, monotonic=time.monotonic))
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.read(make_pair(tmp_path_factory.mktemp("keys"), "publisher").private)


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """A store with every version."""
    store = Store.create(tmp_path / "source")
    for manifest, files in BUILT:
        store.publish(manifest, files)
    return store


def age(folder: Path) -> None:
    """Let two hours pass for all that is in a folder."""
    for path in folder.rglob("*"):
        then = path.stat().st_mtime - 7200
        os.utime(path, (then, then))


def prepare(root: Path, source: Store, chance: random.Random) -> None:
    """Some versions whole, one as a publisher left it that died, and production at one of those that are whole."""
    store = Store.create(root)
    chosen = chance.sample(range(len(BUILT)), 3)
    for number in chosen[:2]:
        store.publish(*BUILT[number])
    if chance.random() < 0.8:
        store.set_alias("digits", "production", VERSIONS[chosen[0]])
    left = Path("digits", VERSIONS[chosen[2]], chance.choice(["dense", "p80"]), "model.onnx")
    (root / left).parent.mkdir(parents=True)
    shutil.copy(Path(source.url) / left, root / left)
    age(root)


def assert_whole(root: Path) -> None:
    """Every version that has a manifest has the other files, at every moment."""
    for manifest, files in BUILT:
        folder = root / "digits" / manifest.version
        if (folder / "manifest.json").exists():
            for level, data in files.items():
                found = folder / level / "model.onnx"
                assert found.exists() and found.stat().st_size == len(data), f"{manifest.version} is torn"


def assert_nothing_left(store: Store) -> None:
    """Collection removes all remains and nothing else."""
    before = state(store)
    collect_garbage(store)
    assert state(store) == before
    names = {found.name for found in store.objects.list_objects("digits/") if "/aliases/" not in found.name}
    whole = {f"digits/{version}/{name}" for version in before[0] for name in FILES}
    assert names - {f"digits/{version}/{SIGNATURE}" for version in before[0]} == whole


@pytest.mark.usefixtures("unhurried")
def test_commands_that_cross_at_any_step_of_the_file_system(tmp_path: Path, source: Store, key: SigningKey) -> None:
    told = Counter[str]()
    for number in NUMBERS:
        chance, root = random.Random(number), tmp_path / f"store-{number}"
        prepare(root, source, chance)
        world = World(lambda root=root: Store.open(root), source, key)
        try:
            for _ in range(2):
                with stepping_below(f"{root}/"):
                    run_round(world, chance, lambda root=root: assert_whole(root), LATEST_DEATH, told)
                age(root)
            assert_nothing_left(Store.open(root))
        except BaseException as error:
            error.add_note(f"interleaving {number}")
            raise
        shutil.rmtree(root)
    if not ONLY:
        assert {f"{kind} {outcome}" for kind in set(KINDS) for outcome in ("done", "killed")} <= set(told), told
        assert {f"{kind} refused" for kind in ("publish", "promote", "delete", "sign")} <= set(told), told
