"""A limit on the memory that banks take: those unused for longest go first, and are built anew on demand."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable

from service.resources import trim_heap

# All of an engine is gone by then, and others that go at the same time are, too.
SOON_SECONDS = 1.0


class MemoryBudget:
    """Bytes of the banks of one service, by owner; None is no limit. Safe to use from several threads."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._held: OrderedDict[object, tuple[int, Callable[[], None]]] = OrderedDict()
        self._lock = threading.Lock()
        self._giving_back = False

    @property
    def used(self) -> int:
        """Bytes that banks take, as far as is known."""
        with self._lock:
            return sum(size for size, _ in self._held.values())

    def use(self, owner: object, size: int, drop: Callable[[], None]) -> None:
        """Say that `owner` uses `size` bytes now, of which `drop` lets go; may drop others, never `owner` itself."""
        dropped = []
        with self._lock:
            self._held[owner] = (size, drop)
            self._held.move_to_end(owner)
            total = sum(held for held, _ in self._held.values())
            while self.limit is not None and total > self.limit and len(self._held) > 1:
                _, (held, drop_other) = self._held.popitem(last=False)
                total -= held
                dropped.append(drop_other)
        for drop_other in dropped:
            drop_other()

    def forget(self, owner: object) -> None:
        """Say that `owner` uses nothing any more."""
        with self._lock:
            self._held.pop(owner, None)

    def watch(self, engine: object) -> None:
        """Return its memory to the system soon after it is gone, whoever let go of it last."""
        weakref.finalize(engine, self._give_back_soon).atexit = False

    def _give_back_soon(self) -> None:
        # Without the lock: who holds that may be the one to let go.
        if self._giving_back:
            return
        self._giving_back = True
        timer = threading.Timer(SOON_SECONDS, self._give_back)
        timer.daemon = True
        timer.start()

    def _give_back(self) -> None:
        self._giving_back = False
        trim_heap()
