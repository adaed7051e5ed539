"""The scheduler: the same draws in whatever company, by turns, in time, and nothing for those who left."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from service.errors import DeadlineError
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.scheduling.level_queue import MAX_BATCH_IMAGES
from service.scheduling.scheduler import Scheduler
from tests.support.scheduling import Found, Gate, Slow, job
from tests.support.waiting import HANG_S


@pytest.fixture(params=[1, 2, 3])
def scheduler(request: pytest.FixtureRequest) -> Iterator[Scheduler]:
    """Threads."""
    scheduler = Scheduler(request.param)
    yield scheduler
    scheduler.close()


def test_samples_are_exact_in_any_company(engine: Engine, scheduler: Scheduler, images: np.ndarray) -> None:
    """Many jobs of all sizes at once: each image has its number of draws, and they are the first of the bank."""
    expected = engine.draws(images, 33)
    jobs = [
        job(engine, images[:count], samples, early_stopping=early_stopping)
        for samples in (1, 3, 4, 7, 16, 33)
        for count in (1, 3, 2 * MAX_BATCH_IMAGES + 1)
        for early_stopping in (None, EarlyStopping(1.0, 0.9, 1e-9))  # which never settles
    ]
    for each in jobs:
        scheduler.submit(each)
    for each in jobs:
        for number, (logits, stop) in enumerate(each.future.result(HANG_S)):
            assert stop == "samples"
            np.testing.assert_allclose(logits, expected[: each.samples, number], rtol=1e-5, atol=1e-5)


def test_each_image_stops_by_itself(engine: Engine, scheduler: Scheduler, images: np.ndarray) -> None:
    """As many draws as the rule wants, alone and together."""
    rule = EarlyStopping(0.5, 0.9, 0.05)
    together = job(engine, images, 64, early_stopping=rule)
    scheduler.submit(together)
    found: list[Found] = together.future.result(HANG_S)
    used = [len(logits) for logits, _ in found]
    assert {stop for _, stop in found} == {"converged", "samples"}
    assert len(set(used)) > 2
    for number in range(0, 40, 8):
        alone = job(engine, images[number : number + 1], 64, early_stopping=rule)
        scheduler.submit(alone)
        ((logits, _),) = alone.future.result(HANG_S)
        assert len(logits) == used[number]


def test_who_is_alone_may_have_all_threads(engine: Engine, images: np.ndarray) -> None:
    """A request that finds the scheduler idle, and none that comes while another is computed."""
    scheduler, gate = Scheduler(2), Gate()
    slow, other = Slow(engine, 0.1, gate), Slow(engine, 0.0)
    jobs = [job(slow, images[:1], 2), job(other, images[:1], 2)]  # type: ignore[arg-type]
    with gate.closed():
        scheduler.submit(jobs[0])
        gate.wait()
        scheduler.submit(jobs[1])
        jobs[1].future.result(HANG_S)
    jobs[0].future.result(HANG_S)
    last = job(other, images[:1], 2)  # type: ignore[arg-type]
    scheduler.close()
    scheduler = Scheduler(2)
    scheduler.submit(last)
    last.future.result(HANG_S)
    scheduler.close()
    assert (slow.alone, other.alone) == ([True], [False, True])


def test_deadlines(engine: Engine, images: np.ndarray) -> None:
    """With some draws there is an answer from them; with none there is none."""
    scheduler, deadline = Scheduler(1), time.monotonic() + 2

    def late_after_two_packs() -> None:
        if slow.runs == 2:
            time.sleep(max(0.0, deadline - time.monotonic()) + 0.01)

    slow = Slow(engine, 0.02, late_after_two_packs)
    rule = EarlyStopping(1.0, 0.9, 1e-9)
    in_time = job(slow, images[:1], 64, early_stopping=rule, deadline=deadline)  # type: ignore[arg-type]
    scheduler.submit(in_time)
    ((logits, stop),) = in_time.future.result(HANG_S)
    assert stop == "deadline"
    assert 4 <= len(logits) < 64
    too_late = job(slow, images[:1], 64, early_stopping=rule, deadline=time.monotonic() - 1)  # type: ignore[arg-type]
    scheduler.submit(too_late)
    with pytest.raises(DeadlineError):
        too_late.future.result(HANG_S)
    scheduler.close()


def test_requests_are_batched_while_the_engine_is_busy(engine: Engine, images: np.ndarray) -> None:
    """Ten that came while one was computed take no more passes than two do."""
    gate = Gate()
    slow = Slow(engine, 0.05, gate)
    scheduler = Scheduler(1)
    jobs = [job(slow, images[n : n + 1], 2) for n in range(11)]  # type: ignore[arg-type]
    with gate.closed():
        scheduler.submit(jobs[0])
        gate.wait()
        for each in jobs[1:]:
            scheduler.submit(each)
    for each in jobs:
        each.future.result(HANG_S)
    scheduler.close()
    assert slow.runs == 2


def test_closing_finishes_what_was_submitted(engine: Engine, images: np.ndarray) -> None:
    """Nobody who was accepted is left without an answer."""
    scheduler = Scheduler(2)
    jobs = [job(engine, images, 33) for _ in range(5)]
    for each in jobs:
        scheduler.submit(each)
    scheduler.close()
    assert all(each.future.done() for each in jobs)
