"""End a process on SIGTERM, Ctrl-C or a terminal's hang-up: in time whatever still runs, with the status of its kind.

A thread that waits for a store, a decoder or a reader of its output cannot be interrupted, and Python's own exit waits
for it. So a process that got a signal ends after a while without asking anyone.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")
Handler = Callable[[int, FrameType | None], object]
# A terminal that hangs up tells the processes that it started, where the system has such a signal.
HANG_UP: int | None = getattr(signal, "SIGHUP", None)
# Time of a command that was interrupted to put down its work.
COMMAND_END_S = 5.0


def end_process(status: int) -> None:
    """End the process at once, after writing what was logged: no thread, exit handler or unread pipe can hold it."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(status)


def start_thread(work: Callable[[], object]) -> None:
    """Start a thread that the process does not wait for; may be called by a signal's handler.

    `threading` has locks of its own, which the code that the signal interrupted may be holding.
    """
    _thread.start_new_thread(work, ())


def run_interruptibly(work: Callable[[], Result]) -> Result:
    """Run `work` in another thread: handlers of signals do not run while the main thread waits in foreign code."""
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # raised by the caller
            result.set_exception(error)

    start_thread(run)
    return result.result()


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Have `handler` called on SIGTERM, SIGINT and SIGHUP while the context lasts; belongs to the main thread.

    A SIGHUP that the process was started to ignore, as by `nohup`, stays ignored.
    """
    numbers: list[int] = [signal.SIGTERM, signal.SIGINT]
    if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        numbers.append(HANG_UP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class Interruption:
    """Raise KeyboardInterrupt in the main thread on a first signal, and end the process if that takes too long.

    A second signal ends it at once. `status` is the one of a process that died of the signal, None before any.
    """

    def __init__(self) -> None:
        self.status: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        again, self.status = self.status is not None, 128 + number
        if again:
            end_process(self.status)
        start_thread(self._end_late)
        raise KeyboardInterrupt

    def _end_late(self) -> None:
        time.sleep(COMMAND_END_S)
        end_process(self.status or 0)
