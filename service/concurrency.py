"""Work that takes long, done where it holds up nobody.

Threads that compute step back, so that the event loop, which has little to do, does it at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

Result = TypeVar("Result")


async def run_in_worker(work: Callable[[], Result], limiter: anyio.CapacityLimiter, *, inline: bool = False) -> Result:
    """Run blocking work in a worker thread, off the event loop; `inline` work is quicker than asking a thread.

    `limiter` bounds the threads by the cores: more would only wait for each other, with their images in memory.
    """
    if inline:
        return work()
    return await anyio.to_thread.run_sync(_at_low_priority, work, limiter=limiter)


def _at_low_priority(work: Callable[[], Result]) -> Result:
    lower_thread_priority()
    return work()


# A third of the event loop's weight where cores are short; none are taken from others where they are not.
NICENESS = 5
LARGEST = 19


def lower_thread_priority() -> None:
    """Make the calling thread less urgent than the process's first; where only whole processes have that, nothing."""
    if sys.platform == "linux":
        niceness = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, LARGEST)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
