"""Work on entries of a store: side by side, one piece at a time for each, and none waits for one that is stuck."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from service.repository.entries import PARALLEL, Entries
from tests.support.services import wait_until
from tests.support.waiting import HANG_S


def test_a_stuck_entry_holds_up_no_other() -> None:
    """However many are stuck; what was stuck is passed over until it is done, and then done again."""
    entries, unstuck, done = Entries(), threading.Event(), list[str]()
    stuck = {f"stuck{n}": partial(unstuck.wait, HANG_S) for n in range(2 * PARALLEL)}
    good = {f"good{n}": partial(done.append, f"good{n}") for n in range(2 * PARALLEL)}
    results = entries.run({**stuck, **good}, 0.1)
    assert sorted(done) == sorted(results) == sorted(good)
    assert entries.run({"stuck0": lambda: pytest.fail("twice at once"), "good0": lambda: 7}, 0.1) == {"good0": 7}
    unstuck.set()
    wait_until(lambda: not entries._running)
    assert entries.run({"stuck0": lambda: 7}, HANG_S) == {"stuck0": 7}


def test_work_on_one_entry_takes_turns() -> None:
    """What is asked for waits for what is done, and gives up after its time."""
    entries, go = Entries(), threading.Event()
    entries.run({"a": partial(go.wait, HANG_S)}, 0.01)
    with pytest.raises(TimeoutError):
        entries.run_one("a", lambda: 7, 0.05)
    threading.Timer(0.1, go.set).start()
    assert entries.run_one("a", lambda: 7, HANG_S) == 7
    with pytest.raises(ZeroDivisionError):
        entries.run_one("a", lambda: 1 // 0, HANG_S)


def test_whoever_stops_waits_for_nobody() -> None:
    entries, go = Entries(), threading.Event()
    waiting = threading.Thread(target=entries.run, args=({"a": partial(go.wait, HANG_S)}, HANG_S))
    waiting.start()
    entries.stop()
    waiting.join(HANG_S)
    assert not waiting.is_alive()
    assert entries.stopped
    go.set()
    entries.join(HANG_S)
    assert not entries._running
