"""Bound the memory of loaded networks: the least recently used are dropped, and rebuilt on demand."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable

from service.resources import trim_heap

# Long enough for all of an engine, and for others dropped with it, to be freed.
TRIM_DELAY_S = 1.0


class MemoryBudget:
    """Bytes of the networks of one service, by owner; a `limit` of None is none. Safe to use from several threads."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._owners: OrderedDict[object, tuple[int, Callable[[], None]]] = OrderedDict()
        self._lock = threading.Lock()
        self._trim_scheduled = False

    @property
    def used(self) -> int:
        """Return the bytes that all owners use, as far as known."""
        with self._lock:
            return sum(nbytes for nbytes, _ in self._owners.values())

    def touch(self, owner: object, nbytes: int, drop: Callable[[], None]) -> None:
        """Record that `owner` uses `nbytes` now, which `drop` frees; may drop other owners, never `owner` itself."""
        dropped = []
        with self._lock:
            self._owners[owner] = (nbytes, drop)
            self._owners.move_to_end(owner)
            total = sum(used for used, _ in self._owners.values())
            while self.limit is not None and total > self.limit and len(self._owners) > 1:
                _, (used, drop_other) = self._owners.popitem(last=False)
                total -= used
                dropped.append(drop_other)
        for drop_other in dropped:
            drop_other()

    def release(self, owner: object) -> None:
        """Record that `owner` uses nothing any more."""
        with self._lock:
            self._owners.pop(owner, None)

    def watch(self, engine: object) -> None:
        """Trim the heap soon after an engine is garbage collected, whoever held it last."""
        weakref.finalize(engine, self._schedule_trim).atexit = False

    def _schedule_trim(self) -> None:
        # Without the lock: the finalizer may run in a thread that holds it.
        if self._trim_scheduled:
            return
        self._trim_scheduled = True
        timer = threading.Timer(TRIM_DELAY_S, self._trim)
        timer.daemon = True
        timer.start()

    def _trim(self) -> None:
        self._trim_scheduled = False
        trim_heap()
