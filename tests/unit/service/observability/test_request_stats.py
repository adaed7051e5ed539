"""How many a second."""

from __future__ import annotations

from service.observability.request_stats import RATE_WINDOW_S, EventRate


class Clock:
    """Seconds, as set."""

    now = 1000.5

    def __call__(self) -> float:
        return self.now


def test_rate() -> None:
    """The mean of the last ten full seconds; older ones are forgotten, the one that runs does not count yet."""
    clock = Clock()
    rate = EventRate(clock)
    assert rate.per_second == 0
    for _ in range(1000):
        rate.add(3)
        rate.add(4)
        clock.now += 1
    assert rate.per_second == 7
    assert len(rate._latest) <= RATE_WINDOW_S + 1
    rate.add(1000)
    assert rate.per_second == 7
    clock.now += 5
    assert rate.per_second == (5 * 7 + 1000) / 10
    clock.now += 100
    assert rate.per_second == 0
