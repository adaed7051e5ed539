"""Predict the latency of requests from the work ahead of them, and learn from what they took.

The mean is a line, `intercept + slope · expected`, fitted by normalised least mean squares (Widrow and Hoff 1960). The
deviation from it is a moving average as in the estimate of round-trip times (Jacobson 1988), except that it rises
faster than it falls: whatever delays all waiting requests at once is rare, and forgotten too soon otherwise.
"""

from __future__ import annotations

# Weight of a new observation, and of one that lies closer to the mean than the deviation says.
EMA_ALPHA, EMA_ALPHA_FALLING = 0.1, 0.01
# Largest ratio of an observed latency, or of an upper bound, to the mean.
MAX_RATIO = 4.0
# Work below which a latency says more about the intercept than about the slope.
SMALL_WORK_S = 0.02
# Deviations that the upper bound adds to the mean, and the deviation before any observation.
MARGIN, INITIAL_DEVIATION = 4.0, 0.5

# Seconds that a pixel takes to decode before the first measurement, and the weight of a new one.
INITIAL_SECONDS_PER_PIXEL, DECODING_ALPHA = 1e-8, 0.05


class DecodingModel:
    """A running mean of the seconds that pictures take to decode, by their pixels. Any thread may update it."""

    def __init__(self) -> None:
        self.seconds_per_pixel = INITIAL_SECONDS_PER_PIXEL

    def update(self, seconds: float, pixels: int) -> None:
        """Learn from decoded pictures, more from large ones than from small ones, whose headers take longest."""
        alpha = DECODING_ALPHA * min(1.0, pixels / 2**20)
        self.seconds_per_pixel += alpha * (seconds / pixels - self.seconds_per_pixel)


class LatencyModel:
    """A running model of latency: `intercept` in seconds, `slope` per second of work, `deviation` relative to it."""

    def __init__(self) -> None:
        self.intercept, self.slope, self.deviation = 0.0, 1.0, INITIAL_DEVIATION

    def mean(self, expected_s: float) -> float:
        """Predict the mean latency of requests that should take so long."""
        return self.intercept + self.slope * expected_s

    def upper_bound(self, expected_s: float, own_s: float) -> float:
        """Predict a latency that nearly all requests stay within.

        `own_s` is the part of `expected_s` that is the request's own work. The deviation of large requests is a smaller
        multiple of their own work than that of small ones, hence the bound by a multiple of the mean.
        """
        mean = self.mean(expected_s)
        return min(mean + MARGIN * self.deviation * (SMALL_WORK_S + own_s), MAX_RATIO * mean)

    def update(self, latency_s: float, expected_s: float, own_s: float) -> None:
        """Learn from a finished request, bounded by `MAX_RATIO`: an extreme latency is seldom the rule.

        The slope never falls below 1: no machine does less work than it has to.
        """
        mean = self.mean(expected_s)
        error = min(latency_s, MAX_RATIO * mean) - mean
        step = EMA_ALPHA * error / (SMALL_WORK_S * SMALL_WORK_S + expected_s * expected_s)
        self.intercept = max(0.0, self.intercept + step * SMALL_WORK_S * SMALL_WORK_S)
        self.slope = max(1.0, self.slope + step * expected_s)
        excess = abs(error) / (SMALL_WORK_S + own_s) - self.deviation
        self.deviation += (EMA_ALPHA if excess > 0 else EMA_ALPHA_FALLING) * excess
