"""All requests of one service: how they ended, how long they took, and how many images are answered a second."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from time import monotonic

from service.pipeline.context import RequestContext
from service.stats import SECONDS, Histogram, RequestOutcome

RATE_SECONDS = 10


class EventRate:
    """How many a second, over the last ten full seconds; memory is bounded by these."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.now = now
        # Counts by second.
        self._latest: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 1)

    def add(self, count: int) -> None:
        """So many more, now."""
        second = int(self.now())
        if self._latest and self._latest[-1][0] == second:
            count += self._latest.pop()[1]
        self._latest.append((second, count))

    @property
    def per_second(self) -> float:
        """The mean over the last ten seconds that are over."""
        now = int(self.now())
        return sum(count for second, count in self._latest if now - RATE_SECONDS <= second < now) / RATE_SECONDS


class RequestStats:
    """What was seen of all requests; `requests` has those that never got as far as a level."""

    def __init__(self) -> None:
        self.requests: Counter[RequestOutcome] = Counter()
        # Of answered requests, by route.
        self.seconds: dict[str, Histogram] = {}
        self.rate = EventRate()

    def record(self, account: RequestContext, ending: RequestOutcome, seconds: float) -> None:
        """Add one request that ended after so many seconds, here and to its level's record."""
        record = None if account.served is None else account.served.record
        (self if record is None else record).requests[ending] += 1
        if ending.outcome == "answered":
            self.seconds.setdefault(ending.route, Histogram(SECONDS)).record(seconds)
        if record is None:
            return
        for stage, (begun, ended) in account.stages.items():
            record.stages[stage].record(ended - begun)
        if ending.outcome == "answered":
            record.degraded += account.degraded
            record.verdicts(account.verdicts)
            self.rate.add(len(account.verdicts))
