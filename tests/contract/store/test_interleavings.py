"""Commands that cross at any step, killed at any step: versions are whole or absent, and nothing done is lost.

STORE_INTERLEAVINGS=2000 in the environment tries so many of either form, on servers a twentieth. A failure names its
number, and STORE_INTERLEAVING=NUMBER repeats that one alone.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
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

INTERLEAVINGS = int(os.environ.get("STORE_INTERLEAVINGS", "100"))
ONLY = os.environ.get("STORE_INTERLEAVING")
NUMBERS = [int(ONLY)] if ONLY else list(range(INTERLEAVINGS))
BUILT = [build_version(f"content {n}".encode(), created=NOON + timedelta(minutes=n)) for n in range(4)]
VERSIONS = [manifest.version for manifest, _ in BUILT]
FILES = ("dense/model.onnx", "manifest.json", "p80/model.onnx")
NOW = timedelta(seconds=-1)
# A command of most kinds has taken as many steps by then.
LATEST_STEP, LATEST_OPERATION = 128, 16


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
KINDS = (
    "publish",
    "publish",
    "pull",
    "promote",
    "promote",
    "unalias",
    "delete",
    "delete",
    "delete",
    "gc",
    "gc",
    "keep",
    "sign",
)


def keep_newest(store: Store) -> None:
    """As `slimbayes models gc --keep 1` does."""
    for version in superseded(store.listing("digits"), 1):
        try:
            store.delete("digits", version)
        except StoreError:
            continue


# Those that can take something from each other: the first stops at some step until the others have ended. Versions 0
# and 1 are there, production is 0, and of 2 a part is.
CROSSINGS = (
    (("delete", 1), ("promote", 1)),
    (("promote", 1), ("delete", 1)),
    (("delete", 0), ("promote", 1)),
    (("promote", 1), ("delete", 0), ("delete", 1)),
    (("delete", 0), ("promote", 1), ("delete", 1)),
    (("delete", 1), ("promote", 1), ("delete", 0)),
    (("delete", 0), ("delete", 1), ("promote", 1)),
    (("gc", 2), ("publish", 2)),
    (("publish", 2), ("gc", 2)),
    (("pull", 2), ("gc", 2), ("delete", 2)),
    (("delete", 1), ("publish", 1)),
    (("delete", 1), ("sign", 1)),
    (("sign", 1), ("delete", 1)),
)


def at_random(chance: random.Random) -> Callable[[list[str]], str]:
    """Change between commands after runs of one step to hundreds."""
    last, left = [""], [0]

    def choose(running: list[str]) -> str:
        if last[0] not in running or left[0] == 0:
            last[0], left[0] = chance.choice(running), int(400 ** chance.random())
        left[0] -= 1
        return last[0]

    return choose


def stopping(steps: list[int]) -> Callable[[list[str]], str]:
    """Run each command for so many steps, one after the other, and then the last one first to their ends."""
    left, index = list(steps), [0]

    def choose(running: list[str]) -> str:
        while index[0] < len(left) and (left[index[0]] == 0 or index[0] >= len(running)):
            index[0] += 1
        if index[0] >= len(left):
            return running[-1]
        left[index[0]] -= 1
        return running[index[0]]

    return choose


def state(store: Store) -> tuple[set[str], str | None]:
    listing = store.listing("digits")
    return set(listing.versions), listing.aliases.get("production")


def run_round(
    world: World,
    drawn: Sequence[tuple[str, int]],
    deaths: Sequence[int | None],
    choose: Callable[[list[str]], str],
    look: Callable[[], None],
) -> Counter[str]:
    """Run commands at once; all that was reported as done must be so afterwards. Returns what became of each kind."""
    before, alias = state(world.open())
    workers = {
        f"{number} {kind} {version}": Worker(world.command(kind, version), death)
        for number, ((kind, version), death) in enumerate(zip(drawn, deaths, strict=True))
    }
    interleave(workers, choose, look)
    for name, worker in workers.items():
        if worker.failure is not None:
            raise AssertionError(f"{name} failed among {list(workers)}") from worker.failure
    outcomes = [worker.outcome for worker in workers.values()]
    check_round(world.open(), before, alias, drawn, outcomes)
    short = [outcome if outcome in ("done", "killed") else "refused" for outcome in outcomes]
    return Counter(f"{kind} {outcome}" for (kind, _), outcome in zip(drawn, short, strict=True))


def run_random(world: World, chance: random.Random, look: Callable[[], None], latest: int) -> Counter[str]:
    """Run two or three commands at once, on two versions, since others rarely meet; some die."""
    versions = chance.sample(range(len(BUILT)), 2)
    drawn = [(chance.choice(KINDS), chance.choice(versions)) for _ in range(chance.choice([2, 2, 3]))]
    deaths = [chance.randrange(latest) if chance.random() < 0.3 else None for _ in drawn]
    return run_round(world, drawn, deaths, at_random(chance), look)


def run_crossing(world: World, number: int, look: Callable[[], None], latest: int) -> Counter[str]:
    """Stop one command at one step while others run; successive numbers take all commands and all steps in turn."""
    turn, kind = divmod(number, len(CROSSINGS))
    drawn = CROSSINGS[kind]
    # Primes that divide neither modulus, so that in time no pair of steps is left out.
    steps = [turn * 37 % latest, turn * 53 % (latest - 1)][: len(drawn) - 1]
    return run_round(world, drawn, [None] * len(drawn), stopping(steps), look)


def check_round(
    store: Store, before: set[str], alias: str | None, drawn: Sequence[tuple[str, int]], outcomes: Sequence[str]
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


def prepare(root: Path, source: Store, chosen: Sequence[int]) -> None:
    """Two versions whole, one as a publisher left it that died, and production at the first."""
    store = Store.create(root)
    for number in chosen[:2]:
        store.publish(*BUILT[number])
    store.set_alias("digits", "production", VERSIONS[chosen[0]])
    left = Path("digits", VERSIONS[chosen[2]], "dense", "model.onnx")
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
                assert found.exists(), f"{manifest.version} is torn"
                assert found.stat().st_size == len(data), f"{manifest.version} is torn"


def assert_nothing_left(store: Store) -> None:
    """Collection removes all remains and nothing else."""
    before = state(store)
    collect_garbage(store)
    assert state(store) == before
    names = {found.name for found in store.objects.list_objects("digits/") if "/aliases/" not in found.name}
    whole = {f"digits/{version}/{name}" for version in before[0] for name in FILES}
    assert names - {f"digits/{version}/{SIGNATURE}" for version in before[0]} == whole


@pytest.mark.slow
@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("form", ["crossing", "random"])
def test_commands_that_cross_at_any_step_of_the_file_system(
    tmp_path: Path, source: Store, key: SigningKey, form: str
) -> None:
    told = Counter[str]()
    for number in NUMBERS:
        chance, root = random.Random(number), tmp_path / f"store-{number}"
        prepare(root, source, (0, 1, 2) if form == "crossing" else chance.sample(range(len(BUILT)), 3))
        world = World(partial(Store.open, root), source, key)
        look = partial(assert_whole, root)
        try:
            with stepping_below(f"{root}/"):
                if form == "crossing":
                    told += run_crossing(world, number, look, LATEST_STEP)
                else:
                    told += run_random(world, chance, look, LATEST_STEP)
                    age(root)
                    told += run_random(world, chance, look, LATEST_STEP)
            age(root)
            assert_nothing_left(Store.open(root))
        except BaseException as error:
            error.add_note(f"interleaving {number}")
            raise
        shutil.rmtree(root)
    if form == "random" and not ONLY:
        outcomes = {f"{kind} {outcome}" for kind in set(KINDS) for outcome in ("done", "killed")}
        assert outcomes | {f"{kind} refused" for kind in ("publish", "promote", "delete", "sign")} <= set(told)


@pytest.mark.slow
@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("form", ["crossing", "random"])
@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_commands_that_cross_at_any_operation_on_a_server(
    place: Place, source: Store, key: SigningKey, form: str
) -> None:
    """Time does not pass here: what died lately still holds its claim, and refuses the others in time."""
    told = Counter[str]()
    for number in NUMBERS[: max(4, INTERLEAVINGS // 20)]:
        chance, url = random.Random(number), f"{place.url}-{number}"
        store = Store.create(url)
        for built in BUILT[:2]:
            store.publish(*built)
        store.set_alias("digits", "production", VERSIONS[0])
        world = World(partial(open_stepped, url), source, key)
        try:
            if form == "crossing":
                told += run_crossing(world, number, lambda: None, LATEST_OPERATION)
            else:
                told += run_random(world, chance, lambda: None, LATEST_OPERATION)
                told += run_random(world, chance, lambda: None, LATEST_OPERATION)
            collect_garbage(store, older_than=NOW)
            assert_nothing_left(store)
        except BaseException as error:
            error.add_note(f"interleaving {number}")
            raise
    assert any(outcome.endswith("done") for outcome in told)


def open_stepped(url: str) -> Store:
    """Open a store of which every operation is a step."""
    return Store(SteppedStorage(open_storage(url)))
