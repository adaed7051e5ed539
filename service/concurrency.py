"""Run blocking work of requests in worker threads, off the event loop: short work first, stopped with its request."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar

import anyio

Result = TypeVar("Result")
# Asks whether the request that the work belongs to has ended; long work asks now and then, and stops.
Interrupted = Callable[[], bool]
# A third of the event loop's weight where cores are short; where they are not, no thread loses any.
NICENESS = 5
MAX_NICENESS = 19
# Work that is expected to take no longer is short: one more thread does nothing else.
SHORT_S = 0.02
# Work counts as arrived later by this multiple of the seconds that it is expected to take.
PRIORITY_WEIGHT = 4.0
# What reads, parses or writes bytes takes no longer.
BYTES_PER_S = 100e6


class WorkerPool:
    """A few threads that run work off the event loop; as many as cores, since more would only wait for each other.

    Work that arrived first runs first, where longer work counts as arrived later. One more thread runs short work
    only, so that it never waits for all others to finish something long.
    """

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._short: list[tuple[float, int, Callable[[], None]]] = []
        self._long: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()
        lock = threading.Lock()
        self._general, self._reserved = threading.Condition(lock), threading.Condition(lock)
        self._idle = 0
        self._closing = False
        for number in range(num_threads + 1):
            threading.Thread(
                target=self._work, args=(number < num_threads,), name=f"worker-{number}", daemon=True
            ).start()

    async def run(self, work: Callable[[Interrupted], Result], expected_s: float) -> Result:
        """Run `work` in a thread and return its result.

        A cancelled caller takes work that has not begun out of the queue. Otherwise the argument of `work` returns true
        from then on, and the caller is cancelled only when the work has ended: its memory is in use until then.
        """
        future: Future[Result] = Future()
        interrupt = threading.Event()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work(interrupt.is_set)
            except BaseException as error:  # the caller's to handle
                future.set_exception(error)
            else:
                future.set_result(result)

        self._put(task, expected_s)
        waited = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waited)
        except asyncio.CancelledError:
            interrupt.set()
            if not future.cancel():
                with anyio.CancelScope(shield=True):
                    await asyncio.wait([waited])
                waited.exception()  # nobody else looks at it
            raise

    def close(self) -> None:
        """End the threads when their present work is done; work that has not begun is dropped."""
        with self._general:
            self._closing = True
            self._general.notify_all()
            self._reserved.notify_all()

    def _put(self, task: Callable[[], None], expected_s: float) -> None:
        short = expected_s <= SHORT_S
        entry = (time.monotonic() + PRIORITY_WEIGHT * expected_s, next(self._count), task)
        with self._general:
            heappush(self._short if short else self._long, entry)
            if self._idle:
                self._idle -= 1
                self._general.notify()
            elif short:
                self._reserved.notify()

    def _work(self, general: bool) -> None:
        lower_thread_priority()
        while (task := self._take(general)) is not None:
            task()
            del task  # and with it what the work holds

    def _take(self, general: bool) -> Callable[[], None] | None:
        with self._general:
            while not self._closing:
                heap = self._short
                if general and self._long and (not heap or self._long[0] < heap[0]):
                    heap = self._long
                if heap:
                    return heappop(heap)[2]
                self._idle += general
                (self._general if general else self._reserved).wait()
            return None


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


def lower_thread_priority() -> None:
    """Lower the OS priority of the calling thread, to keep the event loop responsive.

    The niceness is relative to the process's first thread, so that repeated calls change nothing. Does nothing where
    only whole processes have a priority.
    """
    if sys.platform == "linux":
        niceness = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, MAX_NICENESS)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
