"""How much work may wait, and what happens when more comes: it is refused, or answered with less.

Work is counted in images × draws, which bounds the queue, and in the seconds that it should take, which bounds the
wait. Requests take turns, so that a small one waits for a large one no longer than its own work takes.

What requests really took is compared with what they should have. Their mean follows the machine as a line: a lag that
each has, and seconds for each second of work (normalised least mean squares, Widrow and Hoff 1960). How far single
requests are from it counts, too, as in the estimate of a network's round trips (Jacobson 1988), so that nearly all that
is admitted is done in time.

Less is done for a request only where all of it would be too much among what waits, and then as little less as there is
time for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import OverloadedError

# How fast the estimate follows single requests, and how many times the mean one can count for at most.
EMA_ALPHA, MOST = 0.1, 4.0
# Seconds of work, below which what a request takes says more of the lag than of work.
SMALL = 0.02
# Deviations within which nearly all stay, what one is before any is known, and how slowly large ones are forgotten,
# since what delays all that wait at once seldom comes.
DEVIATIONS, DEVIATION, FORGET = 4.0, 0.5, 0.01
# Less is done for an answer that would take longer than this share of the longest wait; the rest is for what nobody
# foresaw.
SHARE = 0.5
# Most draws of an answer that may stop by itself, by step; at the step after the last a more pruned level answers too.
DRAWS = (None, 8, 4, 2)
STEPS = len(DRAWS)


def _nothing() -> float:
    return 0.0


@dataclass(eq=False)
class Admitted:
    """Work that waits or is being done: the seconds that it should take, and those of it that are `done`.

    Nothing is learned from what in the end was not done as a `whole`.
    """

    seconds: float
    done: Callable[[], float] = _nothing
    whole: bool = True

    @property
    def left(self) -> float:
        """Seconds that it should still take."""
        return max(0.0, self.seconds - self.done())


class Admission:
    """Counts admitted work; belongs to one event loop. `limit` is in images × draws, `longest` in seconds."""

    def __init__(self, limit: int, longest: float, *, degrade: bool, now: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.longest, self.degrade, self.now = limit, longest, degrade, now
        self.waiting = 0
        self._admitted: list[Admitted] = []
        # Seconds that any request takes besides, that pass for each second of work ahead, and how far off requests are
        # for each second of their own.
        self.lag, self.slowness, self.deviation = 0.0, 1.0, DEVIATION
        self._step = 0

    @property
    def wait(self) -> float:
        """Seconds until all that waits should be done."""
        return sum(self._left()) * self.slowness

    def _left(self) -> list[float]:
        """Seconds that each of those before should still take."""
        return [each.left for each in self._admitted]

    def check(self, work: int, seconds: float, deadline: float | None = None) -> None:
        """Raise OverloadedError where work would make the queue too long, or be done too late.

        That is after the longest wait, or after a `deadline` in seconds from now. A request is always admitted when
        nothing else waits.
        """
        if self.waiting and not self._fits(work, seconds, self._left(), _earlier(self.longest, deadline)):
            after = max(1, math.ceil(self.wait))
            raise OverloadedError(f"too much work waits: try again in {after} s", after)

    def _fits(self, work: int, seconds: float, left: Sequence[float], latest: float) -> bool:
        if self.waiting + work > self.limit:
            return False
        mean = self._mean(_expected(seconds, left))
        # Large ones are seldom off by as many times their own work as small ones: at most what one counts for.
        return min(mean + DEVIATIONS * self.deviation * (SMALL + seconds), MOST * mean) <= latest

    def _mean(self, expected: float) -> float:
        """Seconds that requests take, of those that should take so many."""
        return self.lag + self.slowness * expected

    @contextmanager
    def admit(self, work: int, seconds: float, deadline: float | None = None) -> Iterator[Admitted]:
        """Hold work of so many images × draws, which should take so many seconds, until left; raise as `check` does.

        Zero seconds are for work of which nobody knows how long it takes; nothing is learned from it.
        """
        self.check(work, seconds, deadline)
        self._step = self._step if self.waiting else 0
        begun, expected = self.now(), _expected(seconds, self._left())
        self.waiting += work
        admitted = Admitted(seconds)
        self._admitted.append(admitted)
        try:
            yield admitted
            if seconds > 0 and admitted.whole:
                self._learn(self.now() - begun, seconds, expected)
        finally:
            self.waiting -= work
            self._admitted.remove(admitted)

    def _learn(self, took: float, seconds: float, expected: float) -> None:
        """Up to a bound: what took a hundred times as long as it should is seldom the rule.

        Work is never thought to take less than it should, however little all that was seen says of it.
        """
        mean = self._mean(expected)
        off = min(took, MOST * mean) - mean
        step = EMA_ALPHA * off / (SMALL * SMALL + expected * expected)
        self.lag = max(0.0, self.lag + step * SMALL * SMALL)
        self.slowness = max(1.0, self.slowness + step * expected)
        away = abs(off) / (SMALL + seconds) - self.deviation
        self.deviation += (EMA_ALPHA if away > 0 else FORGET) * away

    @property
    def may_degrade(self) -> bool:
        """Whether less may be done for a request that comes now."""
        return self.degrade and self.waiting > 0

    @property
    def degraded(self) -> int:
        """How many steps down the latest of what waits was; 0 where nothing does."""
        return self._step if self.waiting else 0

    def step(self, costs: Sequence[tuple[int, float]], deadline: float | None = None) -> int:
        """How many steps down a request goes, the first that there is time for, else the last.

        `costs` are its work in images × draws and in seconds, in full and at each step.
        """
        latest, left = _earlier(SHARE * self.longest, deadline), self._left()
        steps = range(len(costs)) if self.may_degrade else range(1)
        self._step = next((step for step in steps if self._fits(*costs[step], left, latest)), steps[-1])
        return self._step


def _expected(seconds: float, left: Sequence[float]) -> float:
    """Seconds until so much work more should be done, between turns of others; it is last where it is not known.

    Not what else the machine does: that is in `slowness`.
    """
    return seconds + sum(min(each, seconds) if seconds else each for each in left)


def _earlier(seconds: float, deadline: float | None) -> float:
    return seconds if deadline is None else min(seconds, deadline)
