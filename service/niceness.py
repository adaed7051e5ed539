"""Threads that compute step back, so that the event loop, which has little to do, does it at once."""

from __future__ import annotations

import os
import sys
import threading

# A third of the event loop's weight where cores are short; none are taken from others where they are not.
NICENESS = 5
LARGEST = 19


def step_back() -> None:
    """Make the calling thread less urgent than the process's first; where only whole processes have that, nothing."""
    if sys.platform == "linux":
        niceness = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, LARGEST)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
