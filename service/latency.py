"""How long answers took: quantiles over the latest of them."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

WINDOW = 1024


class Latency:
    """Milliseconds of inference of the latest requests of one level; safe to use from several threads."""

    def __init__(self) -> None:
        self.count = 0
        self.latest: deque[float] = deque(maxlen=WINDOW)
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
