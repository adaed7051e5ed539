"""Whether a level's predictions are still distributed as they were on its test set.

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
from collections import deque

from model_store.manifest import Reference

# Predictions that are compared, and how many there must be.
WINDOW, LEAST = 1000, 200
# What is added to each bin.
HALF = 0.5


class Window:
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
        if len(self.latest) > WINDOW:
            self.counts[self.latest.popleft()] -= 1

    def index(self) -> float | None:
        """The population stability index, in nats; None while there are too few values."""
        counts = list(self.counts)
        total = sum(counts)
        return population_stability(counts, self.reference) if total >= LEAST else None


class Drift:
    """What is watched of one level's predictions: confidence, predictive entropy and mutual information."""

    def __init__(self, reference: Reference, num_classes: int) -> None:
        most = math.log(num_classes)
        self.confidence = Window(reference.confidence, 1.0)
        self.entropy = Window(reference.entropy, most)
        self.mutual_information = Window(reference.mutual_information, most)

    def windows(self) -> dict[str, Window]:
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
