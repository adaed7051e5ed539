"""Threads that compute are less urgent than the event loop."""

from __future__ import annotations

import os
import threading
import time

import pytest

from service.concurrency import MAX_NICENESS, NICENESS, lower_thread_priority, run_in_thread
from service.scheduling.scheduler import Scheduler
from tests.support.waiting import HANG_S


def test_computing_threads_step_back() -> None:
    """Whoever says so; the thread that started it stays as it is."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []

    def look() -> None:
        for _ in range(2):  # said twice, it is no more
            lower_thread_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    expected = min(before + NICENESS, MAX_NICENESS)
    assert found == [expected]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_scheduler_steps_back() -> None:
    """All its threads, soon after they are there."""
    expected = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, MAX_NICENESS)
    scheduler = Scheduler(2)
    threads, end = [each.native_id for each in scheduler._threads], time.monotonic() + HANG_S

    def niceness() -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, each) for each in threads if each is not None}

    while niceness() != {expected}:
        assert time.monotonic() < end
        time.sleep(0.01)
    scheduler.close()


def test_a_thread_of_its_own_gives_its_result_or_its_error() -> None:
    """As a daemon: what is stuck keeps no process from ending."""
    assert run_in_thread(lambda: threading.current_thread().daemon, "own").result(HANG_S)
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 // 0, "own").result(HANG_S)
