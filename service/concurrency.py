"""Work that takes long, done where it holds up nobody.

Threads that compute step back, so that the event loop, which has little to do, does it at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from starlette.requests import Request

Result = TypeVar("Result")


async def run_in_worker(request: Request, work: Callable[[], Result], *, quick: bool = False) -> Result:
    """What `work` gives, from another thread; or from this one, where it is so quick that asking would take longer.

    As many are done at once as there are cores: more would only wait for each other, with their pictures in memory.
    """
    if quick:
        return work()
    return await anyio.to_thread.run_sync(_at_low_priority, work, limiter=request.app.state.computing)


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
