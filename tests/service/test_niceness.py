"""Threads that compute are less urgent than the event loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from service.niceness import LARGEST, NICENESS, step_back
from service.scheduler import Scheduler


@pytest.mark.skipif(sys.platform != "linux", reason="there, threads have no niceness of their own")
def test_computing_threads_step_back() -> None:
    """Those of the scheduler, and whoever says so; the thread that started them stays as it is."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []

    def look() -> None:
        for _ in range(2):  # said twice, it is no more
            step_back()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    scheduler = Scheduler(2)
    scheduler.close()
    assert found == [min(before + NICENESS, LARGEST)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
