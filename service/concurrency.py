"""Run blocking work in a worker thread, off the event loop, and lower the priority of compute threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
import anyio.to_thread

Result = TypeVar("Result")
# A third of the event loop's weight where cores are short; where they are not, no thread loses any.
NICENESS = 5
MAX_NICENESS = 19


async def run_in_worker(work: Callable[[], Result], limiter: anyio.CapacityLimiter, *, inline: bool = False) -> Result:
    """Run `work` in a worker thread and return its result; `inline` runs it here, if it is faster than the handover.

    `limiter` allows as many workers as there are cores: more would only wait for each other, with their pictures in
    memory.
    """
    if inline:
        return work()
    return await anyio.to_thread.run_sync(_at_low_priority, work, limiter=limiter)


def run_in_thread(work: Callable[[], Result], name: str) -> Future[Result]:
    """Run `work` in a daemon thread of its own: one that is stuck keeps neither others nor the end of the process."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _at_low_priority(work: Callable[[], Result]) -> Result:
    lower_thread_priority()
    return work()


def lower_thread_priority() -> None:
    """Lower the OS priority of the calling thread, to keep the event loop responsive.

    The niceness is relative to the process's first thread, so that repeated calls change nothing. Does nothing where
    only whole processes have a priority.
    """
    if sys.platform == "linux":
        niceness = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, MAX_NICENESS)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
