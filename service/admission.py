"""A bound on the work that waits, counted in images x draws, so that a queue can never grow without end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import OverloadedError


class Admission:
    """Counts admitted work; belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = 0
        self.seconds_per_unit = 0.0

    @contextmanager
    def admit(self, work: int) -> Iterator[None]:
        """Hold `work` units until left; raise OverloadedError where they would go over the limit.

        A request is always admitted when nothing else waits.
        """
        if self.waiting and self.waiting + work > self.limit:
            seconds = max(1, math.ceil(self.waiting * self.seconds_per_unit))
            raise OverloadedError(f"too much work waits: try again in {seconds} s", seconds)
        self.waiting += work
        started, ahead = time.monotonic(), self.waiting
        try:
            yield
            self._learn((time.monotonic() - started) / ahead)
        finally:
            self.waiting -= work

    def _learn(self, seconds_per_unit: float) -> None:
        """Follow how long a unit takes, slowly enough to ride over single requests."""
        old = self.seconds_per_unit or seconds_per_unit
        self.seconds_per_unit = 0.9 * old + 0.1 * seconds_per_unit
