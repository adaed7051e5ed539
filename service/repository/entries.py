"""Run work for each entry of the store in a thread of its own, so that one that is stuck holds up no other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from time import monotonic
from typing import Any, TypeVar

from service.concurrency import run_in_thread

# Entries that are worked on at once, besides those that are overdue.
PARALLEL = 4
Result = TypeVar("Result")


class Entries:
    """Work on entries, by name, one piece at a time for each; `stop` ends all waiting."""

    def __init__(self) -> None:
        self._running: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self._stopped: Future[Any] = Future()

    def stop(self) -> None:
        """Wait for nothing any more."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    def join(self, limit_s: float) -> None:
        """Wait for work in progress to end, for so long at most."""
        wait(list(self._running.values()), limit_s)

    @property
    def stopped(self) -> bool:
        """Return whether nothing is waited for any more."""
        return self._stopped.done()

    def run(self, works: Mapping[str, Callable[[], Result]], limit_s: float) -> dict[str, Result]:
        """Do some work on each entry, a few at a time; return the results of those that are done in time.

        An entry that takes longer than `limit_s` goes on in its thread, and is passed over until it is done.
        """
        pending, started = deque(works.items()), dict[Future[Any], tuple[str, float]]()
        results: dict[str, Result] = {}
        while (pending or started) and not self.stopped:
            while pending and len(started) < PARALLEL:
                name, work = pending.popleft()
                future = self._start(name, work)
                if future is not None:
                    started[future] = name, monotonic() + limit_s
            first = min((until for _, until in started.values()), default=0.0)
            wait({*started, self._stopped}, max(0.0, first - monotonic()), FIRST_COMPLETED)
            for future, (name, until) in [*started.items()]:
                if future.done():
                    results[name] = future.result()
                if future.done() or monotonic() >= until:
                    del started[future]
        return results

    def run_one(self, name: str, work: Callable[[], Result], limit_s: float) -> Result:
        """Do some work on one entry after what is done on it now; raise TimeoutError where both take longer."""
        until = monotonic() + limit_s
        while (future := self._start(name, work)) is None:
            running = self._running.get(name)
            wait([running or self._stopped, self._stopped], max(0.0, until - monotonic()), FIRST_COMPLETED)
            if monotonic() >= until or self.stopped:
                raise TimeoutError
        return future.result(max(0.0, until - monotonic()))

    def _start(self, name: str, work: Callable[[], Result]) -> Future[Result] | None:
        """Begin work in a thread, unless there is some on this entry already."""
        with self._lock:
            if name in self._running:
                return None
            future = run_in_thread(lambda: self._finish(name, work), f"entry-{name}")
            self._running[name] = future
            return future

    def _finish(self, name: str, work: Callable[[], Result]) -> Result:
        try:
            return work()
        finally:
            with self._lock:
                self._running.pop(name, None)
