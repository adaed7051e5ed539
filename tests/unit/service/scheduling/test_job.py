"""Jobs that are not computed to their end: clients that left, and errors that reach those who wait."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest

from service.inference.engine import Engine
from service.inference.uncertainty import Draws
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.types import FloatArray, StopReason
from tests.support.scheduling import Gate, Slow, job
from tests.support.waiting import HANG_S


def test_who_left_is_not_computed(engine: Engine, images: np.ndarray) -> None:
    """Cancelled while it waits, a job takes no time from others."""
    gate = Gate()
    slow = Slow(engine, 0.05, gate)
    scheduler = Scheduler(1)
    first, gone = (job(slow, images[:1], 4) for _ in range(2))  # type: ignore[arg-type]
    with gate.closed():
        scheduler.submit(first)
        gate.wait()
        scheduler.submit(gone)
        assert gone.future.cancel()
    first.future.result(HANG_S)
    with pytest.raises(CancelledError):
        gone.future.result(HANG_S)
    scheduler.close()
    assert slow.runs == 2


def test_errors_reach_those_who_wait(engine: Engine, images: np.ndarray) -> None:
    """And nobody else; the threads go on."""

    def fail() -> None:
        raise ZeroDivisionError

    broken = Slow(engine, 0.0, fail)
    scheduler = Scheduler(2)
    bad, good = job(broken, images, 16), job(engine, images[:2], 4)  # type: ignore[arg-type]
    scheduler.submit(bad)
    scheduler.submit(good)
    with pytest.raises(ZeroDivisionError):
        bad.future.result(HANG_S)
    assert len(good.future.result(HANG_S)) == 2
    scheduler.close()


def test_a_request_that_cannot_be_concluded_fails_alone(engine: Engine, images: np.ndarray) -> None:
    """Others of its batch are answered, and nothing is left of either."""

    def fail(logits: FloatArray, stop: StopReason, draws: Draws | None) -> list[object]:
        raise ZeroDivisionError

    gate = Gate()
    slow = Slow(engine, 0.02, gate)
    scheduler = Scheduler(1)
    first, good = (job(slow, images[:2], 2) for _ in range(2))  # type: ignore[arg-type]
    bad = Job(slow, images[:2], 2, fail)  # type: ignore[arg-type]
    with gate.closed():
        scheduler.submit(first)
        gate.wait()
        for each in (bad, good):
            scheduler.submit(each)
    assert len(good.future.result(HANG_S)) == 2
    with pytest.raises(ZeroDivisionError):
        bad.future.result(HANG_S)
    scheduler.close()
    assert not scheduler._queues
