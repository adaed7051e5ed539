"""The limit on memory: who was not used for longest goes, comes back when asked for, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import OverloadedError
from service.inference.engine import Engine
from service.repository.memory_budget import EXTRA_IDLE_S, IDLE_S, TRIM_DELAY_S, Claim, MemoryBudget
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.http import PNG, ask
from tests.support.services import Warm, catalog_of, wait_until
from tests.support.waiting import HANG_S

# Memory for the published draws of one level of the digits, and not of all.
BANK_MB = 48
RELOADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from model_store.store import Store
from service.inference.autotune import autotune
from service.inference.artifact import read_artifact
from service.resources import trim_heap
import numpy as np

store = Store.open(Path(sys.argv[1]))
manifest = store.manifest("digits", store.resolve("digits"))
data = store.read_level(manifest, "dense")
images = np.zeros((4, 8, 8, 1), np.uint8)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

with ThreadPoolExecutor(2) as builders:
    for number in range(1, 51):
        engine = autotune(read_artifact(data), "ab" * 32, builders, 2)
        engine.draws(images, 32)
        del engine
        trim_heap()
        if number == 10:
            tenth = resident()
print(resident() / tenth)
"""


@dataclass(eq=False)
class Level:
    """A level with some bytes for its published draws, and some more."""

    name: str
    published_bytes: int
    memory: MemoryBudget
    pinned: bool = False
    busy: bool = False
    claim: Claim | None = None

    def build(self, nbytes: int, *, published: bool = True, latest: float | None = None) -> None:
        """Build networks of so many bytes."""
        claim = self.claim = self.memory.claim(self)
        try:
            with self.memory.room(claim, nbytes, published=published, latest=latest):
                claim.nbytes = nbytes
        except OverloadedError:
            self.memory.close(claim)
            raise
        self.memory.touch(self)

    def shrink(self) -> None:
        assert self.claim is not None
        self.claim.nbytes = min(self.claim.nbytes, self.published_bytes)

    def drop(self) -> None:
        """Networks in use are freed by who uses them."""
        if not self.busy and self.claim is not None:
            self.memory.close(self.claim)


def test_room_is_made_by_who_was_unused_for_longest() -> None:
    """Draws beyond the published number go first; then whole networks, until what is built fits."""
    memory = MemoryBudget(100)
    a, b, c, d = (Level(name, 20, memory) for name in "abcd")
    a.build(60)
    b.build(40)
    memory.touch(a)
    c.build(30)
    assert [memory.used_by(level) for level in (a, b, c)] == [20, 20, 30]
    d.build(70)
    assert [memory.used_by(level) for level in (a, b, c, d)] == [0, 0, 20, 70]


def test_what_nobody_uses_any_more_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws that one client asked for soon, networks of levels that clients named later, default levels never."""
    memory, now = MemoryBudget(None), 1_000.0
    monkeypatch.setattr("service.repository.memory_budget.monotonic", lambda: now)
    named, busy, default = (Level(name, 20, memory) for name in ("named", "busy", "default"))
    busy.busy, default.pinned = True, True
    levels = (named, busy, default)
    for level in levels:
        level.build(60)
    for idle_s, left in ((EXTRA_IDLE_S, 60), (EXTRA_IDLE_S + 1, 20), (IDLE_S, 20)):
        now = 1_000.0 + idle_s
        memory.release_idle()
        assert [memory.used_by(level) for level in levels] == [left] * 3
    memory.touch(default)
    now += IDLE_S + 1
    memory.release_idle()
    assert [memory.used_by(level) for level in levels] == [0, 20, 20]


def test_room_is_made_before_networks_are_built() -> None:
    """What is reserved counts for others, so that two that build at once stay within the limit together."""
    memory = MemoryBudget(100)
    first, second = Level("first", 60, memory), Level("second", 60, memory)
    claim = memory.claim(first)
    with memory.room(claim, 60, published=True):
        assert memory.used == 60
        with pytest.raises(OverloadedError, match="try again"):
            second.build(60, latest=time.monotonic())
        claim.nbytes = 55
    assert memory.used == 55
    memory.close(claim)
    second.build(60)
    assert memory.used == 60


def test_networks_in_use_count_until_they_are_freed() -> None:
    """Who needs their memory waits for it, and is told to try again where that takes too long."""
    memory = MemoryBudget(100)
    busy, other = Level("busy", 80, memory, busy=True), Level("other", 80, memory)
    busy.build(80)
    with pytest.raises(OverloadedError, match="requests in progress use the memory"):
        other.build(80, latest=time.monotonic() + 0.1)
    assert memory.used == 80
    assert busy.claim is not None
    threading.Timer(0.1, memory.close, (busy.claim,)).start()
    other.build(80)
    assert (memory.used_by(busy), memory.used_by(other)) == (0, 80)


def test_no_client_takes_what_default_requests_need() -> None:
    """Pinned networks are kept from all but other pinned ones, up to half of the limit."""
    memory = MemoryBudget(100)
    pinned, other = Level("pinned", 40, memory, pinned=True), Level("other", 60, memory)
    pinned.build(90, published=False)
    assert memory.available_to(other, published=True) == 60
    assert memory.available_to(pinned, published=True) == 100
    other.build(60)
    assert (memory.used_by(pinned), memory.used_by(other)) == (40, 60)
    with pytest.raises(OverloadedError):
        Level("more", 70, memory).build(70, published=False, latest=time.monotonic())
    assert memory.used_by(pinned) == 40
    second = Level("second", 40, memory, pinned=True)
    second.build(40)
    assert memory.available_to(other, published=False) == 60
    assert memory.used <= 100


def test_no_limit() -> None:
    """Nothing goes."""
    memory = MemoryBudget(None)
    levels = [Level(str(number), 2**30, memory) for number in range(100)]
    for level in levels:
        level.build(2**30)
    assert memory.used == 100 * 2**30


def test_levels_come_back(digits_store: Path, example: bytes) -> None:
    """Under a limit that holds one bank, levels asked for in turn give the answers that they gave before."""
    with Warm(digits_store, memory_mb=BANK_MB) as client:
        memory = catalog_of(client).runtime.memory
        first = [ask(client, example, level=level)["predictions"] for level in ("dense", "p50", "p90")]
        assert memory.used <= BANK_MB * 2**20
        assert len(memory._owners) < 3
        assert [ask(client, example, level=level)["predictions"] for level in ("dense", "p50", "p90")] == first


def test_draws_that_there_is_no_memory_for(digits_store: Path, example: bytes) -> None:
    """They are refused, with how many there is memory for."""
    with Warm(digits_store, memory_mb=BANK_MB) as client:
        assert ask(client, example, level="dense")["predictions"]
        refused = client.post("/predict", params={"level": "dense", "samples": 256}, content=example, headers=PNG)
        assert refused.status_code == 422
        said = re.search(r"256 draws of level dense .* for networks here: ask for at most (\d+)", refused.text)
        assert said, refused.text
        most = int(said[1])
        assert len(ask(client, example, level="dense", samples=most, draws=True)["predictions"]) == 1
        assert 32 <= most < 256


def test_memory_is_given_back_once_an_engine_is_gone(digits_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while somebody still answers from one that was let go of; of several at once, once."""
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):  # of what was let go of before
            timer.join()
    given_back, gone = [], list[weakref.ref[Engine]]()
    monkeypatch.setattr("service.resources.trim_heap", lambda: given_back.append([each() is None for each in gone]))
    catalog = ModelRepository(Settings(store=digits_store))
    levels = [catalog.model(None).version(None).level(name) for name in ("p50", "p90")]
    answering = [level.engine(4) for level in levels]
    gone.extend(map(weakref.ref, answering))
    for level in levels:
        level.release()
    assert catalog.runtime.memory.used == sum(level.nbytes for level in levels) > 0
    time.sleep(1.5 * TRIM_DELAY_S)
    assert given_back == []
    answering.clear()
    assert catalog.runtime.memory.used == 0
    wait_until(lambda: bool(given_back))
    time.sleep(0.5 * TRIM_DELAY_S)
    assert given_back == [[True, True]]
    catalog.close()


@pytest.mark.system
@pytest.mark.slow
def test_memory_returns(digits_store: Path) -> None:
    """After fifty reloads as much is taken as after ten."""
    command = [sys.executable, "-c", RELOADS, str(digits_store)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    assert float(result.stdout) < 1.05
