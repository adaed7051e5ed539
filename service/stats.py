"""Statistics of a running service: histograms, latency quantiles, drift of predictions, outcomes of requests.

Drift is the population stability index of the latest predictions, with shares p, against the manifest's reference, with
shares q, bin by bin:

    PSI = Σ (p_i − q_i) ln(p_i / q_i)

By custom, under 0.1 nothing moved, over 0.25 much did. A bin that is empty on one side would make it infinite. So half
a prediction is added to each bin of either side, as if the reference had been seen on just as many: equal shares still
give exactly zero, and a bin that only a few predictions miss weighs little. From few predictions the index is large by
chance, up to about bins / predictions, so that there is none before `MIN_PREDICTIONS`.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from collections import deque
from typing import Literal, NamedTuple

import numpy as np

from model_store.manifest import Edges, Reference

# Upper bounds of the bins of histograms: of stages, batches, draws, confidences and entropies.
SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
IMAGES = (1, 2, 4, 8, 16)
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
NATS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
# Latest requests whose latency is kept, and latest predictions that are compared with the reference.
LATENCY_WINDOW = 1024
DRIFT_WINDOW = 1000
# Predictions from which on drift is computed.
MIN_PREDICTIONS = 200
# Predictions added to each bin on both sides.
PSEUDO_COUNT = 0.5

Stage = Literal["read", "decode", "queue", "inference"]
STAGES: tuple[Stage, ...] = ("read", "decode", "queue", "inference")


class Histogram:
    """Count values up to each of some upper bounds, and above the last; the caller serialises calls to `record`."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def record(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class LatencyWindow:
    """Quantiles of the inference latency of one level's latest requests; thread-safe."""

    def __init__(self) -> None:
        self.count = 0
        self._latest_ms: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._lock = threading.Lock()

    def record(self, latency_ms: float) -> None:
        """Add one request."""
        with self._lock:
            self.count += 1
            self._latest_ms.append(latency_ms)

    def quantile(self, share: float) -> float | None:
        """Return a quantile of the latest latencies, in milliseconds; None before the first."""
        with self._lock:
            return float(np.quantile(self._latest_ms, share)) if self._latest_ms else None


class DriftWindow:
    """Drift of one statistic: its latest values in the reference's bins, between ascending inner `edges`.

    A value on an edge belongs to the bin above.
    """

    def __init__(self, reference: tuple[float, ...], edges: tuple[float, ...]) -> None:
        self.reference, self.edges = reference, edges
        self.counts = [0] * len(reference)
        self.latest: deque[int] = deque()

    def record(self, value: float) -> None:
        """Add one value; drop the oldest if the window is full."""
        number = bisect_right(self.edges, value)
        self.counts[number] += 1
        self.latest.append(number)
        if len(self.latest) > DRIFT_WINDOW:
            self.counts[self.latest.popleft()] -= 1

    def index(self) -> float | None:
        """Return the population stability index, in nats; None while there are too few values."""
        counts = list(self.counts)
        return population_stability(counts, self.reference) if sum(counts) >= MIN_PREDICTIONS else None


class DriftMonitor:
    """Drift of one level's predictions: confidence, predictive entropy and mutual information."""

    def __init__(self, reference: Reference, num_classes: int) -> None:
        edges = reference.edges or _equal_edges(reference, math.log(num_classes))
        self.confidence = DriftWindow(reference.confidence, edges.confidence)
        self.entropy = DriftWindow(reference.entropy, edges.entropy)
        self.mutual_information = DriftWindow(reference.mutual_information, edges.mutual_information)

    def windows(self) -> dict[str, DriftWindow]:
        """Return the window of each statistic by its name."""
        return {name: getattr(self, name) for name in Edges.model_fields}


def _equal_edges(reference: Reference, max_entropy: float) -> Edges:
    """Return the edges of equal bins, which manifests before schema 4 have: of confidence over [0, 1]."""
    tops = {"confidence": 1.0, "entropy": max_entropy, "mutual_information": max_entropy}
    counts = {name: len(getattr(reference, name)) for name in tops}
    return Edges(**{name: tuple(top * n / counts[name] for n in range(1, counts[name])) for name, top in tops.items()})


def population_stability(counts: list[int], reference: tuple[float, ...]) -> float:
    """Compute the index of counts, at least one, against shares, with half a prediction more in each bin of either."""
    total = sum(counts)
    whole = total + PSEUDO_COUNT * len(counts)
    index = 0.0
    for count, share in zip(counts, reference, strict=True):
        p, q = (count + PSEUDO_COUNT) / whole, (total * share + PSEUDO_COUNT) / whole
        index += (p - q) * math.log(p / q)
    return index


class RequestOutcome(NamedTuple):
    """Result of a request: `reason` is the kind of a refusal, `status` the HTTP status code sent."""

    method: str
    route: str
    status: str
    outcome: Literal["answered", "refused", "failed", "abandoned"]
    reason: str
