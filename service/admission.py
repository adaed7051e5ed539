"""How much work may wait, and what happens when more comes: it is refused, or answered with less.

Work is counted in images × draws, which bounds the queue, and in the seconds that it should take, which bounds the
wait. Requests take turns, so that a small one waits for a large one no longer than its own work takes. What it really
took is compared with what it should have, so that both follow the machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import OverloadedError

# How fast the estimate follows single requests.
FOLLOW = 0.1
# One step down at this share of the longest wait, at most so often; back up below that share, so much later.
HIGH, LOW = 0.5, 0.1
SECONDS_DOWN, SECONDS_UP = 0.05, 0.5
# Most draws of an answer that may stop by itself, by step; at the step after the last a more pruned level answers too.
DRAWS = (None, 8, 4, 2)
STEPS = len(DRAWS)


class Admission:
    """Counts admitted work; belongs to one event loop. `limit` is in images × draws, `longest` in seconds."""

    def __init__(self, limit: int, longest: float, *, degrade: bool, now: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.longest, self.degrade, self.now = limit, longest, degrade, now
        self.waiting = 0
        # Seconds that each request's own work should take.
        self._admitted: list[float] = []
        # Seconds that pass for each second of work ahead.
        self.slowness = 1.0
        self._step, self._since = 0, now()

    @property
    def wait(self) -> float:
        """Seconds until all that waits should be done."""
        return sum(self._admitted) * self.slowness

    def _expected(self, seconds: float) -> float:
        """Seconds until so much work more should be done, between turns of others; it is last where it is not known."""
        return seconds + sum(min(each, seconds or each) for each in self._admitted)

    def check(self, work: int, seconds: float, deadline: float | None = None) -> None:
        """Raise OverloadedError where work would make the queue too long, or be done too late.

        That is after the longest wait, or after a `deadline` in seconds from now. A request is always admitted when
        nothing else waits.
        """
        latest = self.longest if deadline is None else min(self.longest, deadline)
        late = self._expected(seconds) * self.slowness > latest
        if self.waiting and (self.waiting + work > self.limit or late):
            after = max(1, math.ceil(self.wait))
            raise OverloadedError(f"too much work waits: try again in {after} s", after)

    @contextmanager
    def admit(self, work: int, seconds: float, deadline: float | None = None) -> Iterator[None]:
        """Hold work of so many images × draws, which should take so many seconds, until left; raise as `check` does.

        Zero seconds are for work of which nobody knows how long it takes; nothing is learned from it.
        """
        self.check(work, seconds, deadline)
        begun, expected = self.now(), self._expected(seconds)
        self.waiting += work
        self._admitted.append(seconds)
        try:
            yield
            if seconds > 0:
                self.slowness += FOLLOW * ((self.now() - begun) / expected - self.slowness)
        finally:
            self.waiting -= work
            self._admitted.remove(seconds)

    @property
    def degraded(self) -> int:
        """How far answers are degraded, as of the last `step`."""
        return self._step

    def step(self) -> int:
        """How far answers are degraded now, from 0, not at all, to `STEPS`; it moves with the wait, not at once."""
        if not self.degrade:
            return 0
        pressure, since = self.wait / self.longest, self.now() - self._since
        if pressure > HIGH and since >= SECONDS_DOWN:
            self._move(min(self._step + 1, STEPS))
        elif pressure < LOW and since >= SECONDS_UP:
            self._move(max(self._step - int(since / SECONDS_UP), 0))
        return self._step

    def _move(self, step: int) -> None:
        self._step, self._since = step, self.now()
