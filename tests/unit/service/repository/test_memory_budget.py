"""The limit on memory: who was not used for longest goes, comes back when asked for, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.inference.engine import Engine
from service.repository.memory_budget import TRIM_DELAY_S, MemoryBudget
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.http import PNG, ask
from tests.support.services import Warm, wait_until
from tests.support.waiting import HANG_S

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
    for number in range(1, 101):
        engine = autotune(read_artifact(data), "ab" * 32, builders, 2)
        engine.draws(images, 32)
        del engine
        trim_heap()
        if number == 10:
            tenth = resident()
print(resident() / tenth)
"""


def test_longest_unused_goes_first() -> None:
    """Until the rest fits; the one that is asked for stays, however large."""
    memory, gone = MemoryBudget(100), []
    for name, size in (("a", 40), ("b", 40), ("a", 40), ("c", 50)):
        memory.touch(name, size, lambda name=name: gone.append(name))
    assert gone == ["b"]
    memory.touch("d", 1000, lambda: gone.append("d"))
    assert gone == ["b", "a", "c"]
    assert memory.used == 1000


def test_no_limit() -> None:
    """Nothing goes."""
    memory = MemoryBudget(None)
    for number in range(100):
        memory.touch(number, 2**30, lambda: pytest.fail("dropped"))
    assert memory.used == 100 * 2**30


def test_levels_come_back(digits_store: Path, example: bytes) -> None:
    """Under a limit that holds one bank, levels asked for in turn give the answers that they gave before."""
    app = create_app(Settings(store=digits_store, memory_mb=1))
    with TestClient(app) as client:
        first = [ask(client, example, level=level)["predictions"] for level in ("dense", "p50", "p90")]
        assert len(app.state.service.repository.runtime.memory._owners) < 3
        assert [ask(client, example, level=level)["predictions"] for level in ("dense", "p50", "p90")] == first


def test_draws_that_there_is_no_memory_for(digits_store: Path, example: bytes) -> None:
    """They are refused, with how many there is memory for; those that the level was published with are made anyway."""
    with Warm(digits_store, memory_mb=1) as client:
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
    monkeypatch.setattr(
        "service.repository.memory_budget.trim_heap", lambda: given_back.append([each() is None for each in gone])
    )
    catalog = ModelRepository(Settings(store=digits_store))
    levels = [catalog.model(None).version(None).level(name) for name in ("p50", "p90")]
    answering = [level.engine(4) for level in levels]
    gone.extend(map(weakref.ref, answering))
    for level in levels:
        level.release()
    assert catalog.runtime.memory.used == 0
    time.sleep(1.5 * TRIM_DELAY_S)
    assert given_back == []
    answering.clear()
    wait_until(lambda: bool(given_back))
    time.sleep(0.5 * TRIM_DELAY_S)
    assert given_back == [[True, True]]
    catalog.close()


@pytest.mark.system
@pytest.mark.slow
def test_memory_returns(digits_store: Path) -> None:
    """After a hundred reloads as much is taken as after ten."""
    command = [sys.executable, "-c", RELOADS, str(digits_store)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    assert float(result.stdout) < 1.05
