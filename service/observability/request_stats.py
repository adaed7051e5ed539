"""Collect the statistics of all requests: outcomes, durations, and images answered per second."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from time import monotonic

from service.pipeline.context import RequestContext
from service.stats import SECONDS, Histogram, RequestOutcome

RATE_WINDOW_S = 10


class EventRate:
    """Mean events per second over the last ten full seconds, in bounded memory."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.now = now
        # Counts by second.
        self._latest: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_S + 1)

    def add(self, count: int) -> None:
        """Count events that happen now."""
        second = int(self.now())
        if self._latest and self._latest[-1][0] == second:
            count += self._latest.pop()[1]
        self._latest.append((second, count))

    @property
    def per_second(self) -> float:
        """Return the mean over the last ten seconds that are complete."""
        now = int(self.now())
        return sum(count for second, count in self._latest if now - RATE_WINDOW_S <= second < now) / RATE_WINDOW_S


class RequestStats:
    """Statistics of all requests; `requests` counts those that never reached a level, `seconds` is by route."""

    def __init__(self) -> None:
        self.requests: Counter[RequestOutcome] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.rate = EventRate()

    def record(self, context: RequestContext, outcome: RequestOutcome, seconds: float) -> None:
        """Add one finished request, here and to the statistics of its level."""
        stats = None if context.level is None else context.level.stats
        (self if stats is None else stats).requests[outcome] += 1
        if outcome.outcome == "answered":
            self.seconds.setdefault(outcome.route, Histogram(SECONDS)).record(seconds)
        if stats is None:
            return
        for stage, (begun, ended) in context.stages.items():
            stats.stages[stage].record(ended - begun)
        if outcome.outcome == "answered":
            stats.degraded += context.degraded
            stats.record(context.results)
            self.rate.add(len(context.results))
