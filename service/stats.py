"""How often values lay in fixed ranges: what a Prometheus histogram shows, kept where it is recorded.

How long answers took: quantiles over the latest of them.

Whether a level's predictions are still distributed as they were on its test set.

The population stability index compares the shares p of the latest predictions with the shares q of the manifest's
reference, bin by bin:

    PSI = Σ (p_i − q_i) ln(p_i / q_i)

By custom, under 0.1 nothing moved, over 0.25 much did. A bin that is empty on one side would make it infinite. So half
a prediction is added to each bin of either side, as if the reference had been seen on just as many: equal shares still
give exactly zero, and a bin that only a few predictions miss weighs little. From few predictions the index is large by
chance, up to about bins / predictions, so that there is none before `LEAST`.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from typing import Literal, NamedTuple

import numpy as np

from model_store.manifest import Reference

SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
IMAGES = (1, 2, 4, 8, 16)
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
NATS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


class Histogram:
    """Counts of values up to each of some bounds, and above the last; whoever records sees that no two do at once."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def record(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


LATENCY_WINDOW = 1024


class LatencyWindow:
    """Milliseconds of inference of the latest requests of one level; safe to use from several threads."""

    def __init__(self) -> None:
        self.count = 0
        self.latest: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self.lock = threading.Lock()

    def record(self, milliseconds: float) -> None:
        """Add one request."""
        with self.lock:
            self.count += 1
            self.latest.append(milliseconds)

    def quantile(self, share: float) -> float | None:
        """The quantile over the latest requests; None before the first."""
        with self.lock:
            return float(np.quantile(self.latest, share)) if self.latest else None


# Predictions that are compared, and how many there must be.
DRIFT_WINDOW, MIN_PREDICTIONS = 1000, 200
# What is added to each bin.
HALF = 0.5


class DriftWindow:
    """The latest values of one statistic, as numbers of the reference's equal bins over [0, `top`]."""

    def __init__(self, reference: tuple[float, ...], top: float) -> None:
        self.reference, self.top = reference, top
        self.counts = [0] * len(reference)
        self.latest: deque[int] = deque()

    def record(self, value: float) -> None:
        """Add one value; the oldest leaves where the window is full."""
        number = min(int(value / self.top * len(self.counts)), len(self.counts) - 1)
        self.counts[number] += 1
        self.latest.append(number)
        if len(self.latest) > DRIFT_WINDOW:
            self.counts[self.latest.popleft()] -= 1

    def index(self) -> float | None:
        """The population stability index, in nats; None while there are too few values."""
        counts = list(self.counts)
        total = sum(counts)
        return population_stability(counts, self.reference) if total >= MIN_PREDICTIONS else None


class DriftMonitor:
    """What is watched of one level's predictions: confidence, predictive entropy and mutual information."""

    def __init__(self, reference: Reference, num_classes: int) -> None:
        most = math.log(num_classes)
        self.confidence = DriftWindow(reference.confidence, 1.0)
        self.entropy = DriftWindow(reference.entropy, most)
        self.mutual_information = DriftWindow(reference.mutual_information, most)

    def windows(self) -> dict[str, DriftWindow]:
        """Each statistic's window, by its name."""
        return {name: getattr(self, name) for name in Reference.model_fields}


def population_stability(counts: list[int], reference: tuple[float, ...]) -> float:
    """The index of counts, at least one, against shares, with half a prediction more in each bin of either."""
    total = sum(counts)
    whole = total + HALF * len(counts)
    index = 0.0
    for count, share in zip(counts, reference, strict=True):
        p, q = (count + HALF) / whole, (total * share + HALF) / whole
        index += (p - q) * math.log(p / q)
    return index


Stage = Literal["read", "decode", "queue", "inference"]
STAGES: tuple[Stage, ...] = ("read", "decode", "queue", "inference")


class RequestOutcome(NamedTuple):
    """How a request ended; `reason` is the kind of a refusal, `status` what the client was told."""

    method: str
    route: str
    status: str
    outcome: Literal["answered", "refused", "failed", "abandoned"]
    reason: str
