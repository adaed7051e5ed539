"""Jobs, engines that wait and a clock, for tests of the scheduler and of admission control."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from service.inference.engine import Engine
from service.scheduling.admission import Admission
from service.scheduling.job import Job
from service.types import FloatArray, StopReason
from tests.support.waiting import HANG_S

Found = tuple[FloatArray, StopReason]


def job(engine: Engine, images: np.ndarray, samples: int, **more: object) -> Job:
    """A job that gives logits and why it stopped."""
    return Job(
        engine, images, samples, lambda logits, stop, _: [(each, stop) for each in logits.swapaxes(0, 1)], **more
    )  # type: ignore[arg-type]


class Slow:
    """An engine that waits before each pack, and counts them; the rest is another's."""

    def __init__(self, engine: Engine, seconds: float, before: Callable[[], None] = lambda: None) -> None:
        self.engine, self.wait, self.before = engine, seconds, before
        self.bank, self.batch_sizes, self.seconds_per_draw, self.runs = engine.bank, engine.batch_sizes, seconds / 2, 0
        self.alone: list[bool] = []

    def shared(self, images: np.ndarray, *, alone: bool = False) -> list[FloatArray]:
        """The other's."""
        self.alone.append(alone)
        return self.engine.shared(images, alone=alone)

    def seconds(self, draws: float, *, shared: bool = True) -> float:
        """Its own, and what draws share for nothing."""
        return draws * self.seconds_per_draw

    def run(self, pack: int, features: list[FloatArray]) -> list[FloatArray]:
        """The other's, later."""
        self.before()
        time.sleep(self.wait)
        self.runs += 1
        return self.engine.run(pack, features)


class Gate:
    """Hold an engine before a pack while a test submits, however slow the test's thread is."""

    def __init__(self) -> None:
        self._lock, self._reached = threading.Lock(), threading.Event()

    def __call__(self) -> None:
        self._reached.set()
        with self._lock:
            pass

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let no further pack begin."""
        with self._lock:
            yield

    def wait(self) -> None:
        """Return once a first pack is about to begin."""
        assert self._reached.wait(HANG_S)


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Sure(Admission):
    """One for whom every request takes what it should."""

    def __init__(self, limit: int, longest: float, *, degrade: bool) -> None:
        super().__init__(limit, longest, degrade=degrade)
        self.latency.deviation = 0.0
