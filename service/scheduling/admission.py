"""Control admission by predicted latency: admit a request, degrade it, or shed it.

Work is counted in images × draws, which bounds the queue, and in seconds, which bound the wait. Requests take turns,
so a small one waits for a large one no longer than its own work takes. `service.scheduling.latency_model` predicts the
latency that nearly all requests stay within.

A request is degraded only when all of its work would take too long beside what waits, and then as little as possible.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import OverloadedError
from service.scheduling.latency_model import LatencyModel

# Degrade when the predicted latency exceeds this fraction of the longest wait; the rest is headroom.
DEGRADE_FRACTION = 0.5
# Most draws of an answer with early stopping, by degradation step; one more step also uses a more pruned level.
DEGRADED_DRAWS = (None, 8, 4, 2)
STEPS = len(DEGRADED_DRAWS)


@dataclass(eq=False)
class Work:
    """The computation of one request, as admission control predicts it and the scheduler accounts for it.

    `expected_s` and `service_time_s` are seconds of all threads together, zero where unknown. `truncated` is set when a
    deadline cut draws, so that nothing is learned from the time that it took.
    """

    expected_s: float = 0.0
    service_time_s: float = 0.0
    truncated: bool = False

    @property
    def remaining_s(self) -> float:
        """Return the seconds still expected."""
        return max(0.0, self.expected_s - self.service_time_s)


class Admission:
    """Count admitted work; belongs to one event loop. `limit` is in images × draws, `max_wait_s` in seconds."""

    def __init__(
        self, limit: int, max_wait_s: float, *, degrade: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self.max_wait_s, self.degrade, self.now = limit, max_wait_s, degrade, now
        self.latency = LatencyModel()
        self.waiting = 0
        self._admitted: list[Work] = []
        self._step = 0

    @property
    def wait_s(self) -> float:
        """Predict the seconds until all admitted work is done."""
        return sum(self._remaining()) * self.latency.slope

    def _remaining(self) -> list[float]:
        return [each.remaining_s for each in self._admitted]

    def check(self, draws: int, expected_s: float, deadline_s: float | None = None) -> None:
        """Raise OverloadedError when the queue would be too long, or the work done too late.

        Too late is after the longest wait, or `deadline_s` from now. A request is always admitted when nothing waits.
        """
        if self.waiting and not self._fits(draws, expected_s, self._remaining(), _earlier(self.max_wait_s, deadline_s)):
            after = max(1, math.ceil(self.wait_s))
            raise OverloadedError(f"too much work is waiting: try again in {after} s", after)

    def _fits(self, draws: int, own_s: float, remaining: Sequence[float], latest_s: float) -> bool:
        if self.waiting + draws > self.limit:
            return False
        return self.latency.upper_bound(_expected(own_s, remaining), own_s) <= latest_s

    @contextmanager
    def admit(self, draws: int, expected_s: float, deadline_s: float | None = None) -> Iterator[Work]:
        """Hold work of so many images × draws and seconds while the context lasts; raise as `check` does.

        Zero seconds stand for work of unknown duration; nothing is learned from it.
        """
        self.check(draws, expected_s, deadline_s)
        self._step = self._step if self.waiting else 0
        begun, ahead_s = self.now(), _expected(expected_s, self._remaining())
        self.waiting += draws
        work = Work(expected_s)
        self._admitted.append(work)
        try:
            yield work
            if expected_s > 0 and not work.truncated:
                self.latency.update(self.now() - begun, ahead_s, expected_s)
        finally:
            self.waiting -= draws
            self._admitted.remove(work)

    @property
    def may_degrade(self) -> bool:
        """Return whether a request that arrives now may be degraded."""
        return self.degrade and self.waiting > 0

    @property
    def degradation_step(self) -> int:
        """Return the step of the request degraded last, 0 when nothing waits."""
        return self._step if self.waiting else 0

    def step(self, costs: Sequence[tuple[int, float]], deadline_s: float | None = None) -> int:
        """Choose the degradation step of a request: the first that fits, else the last.

        `costs` are its images × draws and seconds, undegraded and at each step.
        """
        latest_s, remaining = _earlier(DEGRADE_FRACTION * self.max_wait_s, deadline_s), self._remaining()
        steps = range(len(costs)) if self.may_degrade else range(1)
        self._step = next((step for step in steps if self._fits(*costs[step], remaining, latest_s)), steps[-1])
        return self._step


def _expected(own_s: float, remaining: Sequence[float]) -> float:
    """Predict the seconds until work of `own_s` is done, taking turns with others; unknown work (zero) comes last."""
    return own_s + sum(min(each, own_s) if own_s else each for each in remaining)


def _earlier(seconds: float, deadline_s: float | None) -> float:
    return seconds if deadline_s is None else min(seconds, deadline_s)
