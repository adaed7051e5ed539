"""Whose turn it is: small requests first, nobody starved, and levels that share alike."""

from __future__ import annotations

import numpy as np
import pytest

from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.scheduling.admission import Work
from service.scheduling.job import Job
from service.scheduling.level_queue import MAX_BATCH_IMAGES
from service.scheduling.scheduler import Scheduler
from tests.support.scheduling import Clock, Gate, Slow, job
from tests.support.services import wait_until
from tests.support.waiting import HANG_S


def order_of_ends(*jobs: Job) -> list[Job]:
    """A list that jobs are added to as they end."""
    ended: list[Job] = []
    for each in jobs:
        each.future.add_done_callback(lambda _, each=each: ended.append(each))
    return ended


def test_a_small_request_overtakes_a_large_one(engine: Engine, images: np.ndarray) -> None:
    """Between the blocks of one that wants many draws, one that wants few is answered."""
    gate = Gate()
    slow = Slow(engine, 0.01, gate)
    scheduler = Scheduler(1)
    large = job(slow, images[:1], 64, early_stopping=EarlyStopping(1.0, 0.9, 1e-9))  # type: ignore[arg-type]
    small = job(slow, images[:1], 4)  # type: ignore[arg-type]
    ended = order_of_ends(large, small)
    with gate.closed():
        scheduler.submit(large)
        gate.wait()
        scheduler.submit(small)
    scheduler.close()
    assert ended == [small, large]


def test_the_largest_request_starves_nobody(engine: Engine, images: np.ndarray) -> None:
    """A small one waits for the pack that is being computed, and for no other of the large one's many."""
    gate = Gate()
    slow = Slow(engine, 0.005, gate)
    slow.seconds_per_draw = 1.0  # more than any machine needs: its charge outweighs any wait
    scheduler = Scheduler(1)
    large = job(slow, images, 64)  # type: ignore[arg-type]
    scheduler.submit(large)
    wait_until(lambda: slow.runs > 16)
    for _ in range(3):
        small, ends = job(slow, images[:1], 4), list[int]()  # type: ignore[arg-type]
        small.future.add_done_callback(lambda _, ends=ends: ends.append(slow.runs))
        with gate.closed():
            before = slow.runs
            scheduler.submit(small)
        small.future.result(HANG_S)
        # Its own packs have two draws each; one is being computed when it comes, and one has been chosen.
        assert ends[0] - before <= 1 + 4 // 2 + 1
    assert not large.future.done()
    large.future.cancel()
    scheduler.close()


def test_equal_requests_are_answered_as_they_came(engine: Engine, images: np.ndarray) -> None:
    """One after the other, instead of all at the end; what comes later and takes less is before them."""
    gate = Gate()
    slow = Slow(engine, 0.02, gate)
    scheduler = Scheduler(1)
    equal = [job(slow, images[:6], 2, work=Work(0.5)) for _ in range(3)]  # type: ignore[arg-type]
    small = job(slow, images[:1], 2, work=Work(0.01))  # type: ignore[arg-type]
    ends: list[int] = []
    for each in (*equal, small):
        each.future.add_done_callback(lambda _: ends.append(slow.runs))
    ended = order_of_ends(*equal, small)
    with gate.closed():
        scheduler.submit(equal[0])
        gate.wait()
        for each in (*equal[1:], small):
            scheduler.submit(each)
    scheduler.close()
    assert ended == [small, *equal]
    # A batch has room for one image of each: after one of the first and the small one, five more of the first.
    assert ends[1] <= 4
    assert ends == sorted(ends)
    assert ends[1] < ends[2] < ends[3]


def test_a_job_is_charged_what_is_computed_for_it(engine: Engine, images: np.ndarray) -> None:
    """What draws share once, and each draw once, also where another of the batch wants to be looked at sooner."""
    gate = Gate()
    slow = Slow(engine, 0.002, gate)
    slow.seconds = lambda draws, *, shared=True: draws * slow.seconds_per_draw + (0.01 if shared else 0.0)  # type: ignore[method-assign]
    scheduler = Scheduler(1)
    first = job(slow, images[:1], 2)  # type: ignore[arg-type]
    fixed = job(slow, images[:3], 32)  # type: ignore[arg-type]
    looked_at = job(slow, images[:3], 32, early_stopping=EarlyStopping(1.0, 0.9, 1e-9))  # type: ignore[arg-type]
    with gate.closed():
        scheduler.submit(first)
        gate.wait()
        for each in (fixed, looked_at):
            scheduler.submit(each)
    scheduler.close()
    for each in (fixed, looked_at):
        assert each.work.service_time_s == pytest.approx(3 * (0.01 + 32 * slow.seconds_per_draw))


def test_levels_share_alike(engine: Engine, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level with a crowd of requests leaves half of the time to one with a few."""
    gate, clock = Gate(), Clock()
    # By this clock each pack takes as long, however busy the machine is.
    monkeypatch.setattr("service.scheduling.scheduler.perf_counter", clock)

    def pack() -> None:
        clock.time += 0.004
        gate()

    crowd, few = Slow(engine, 0.004, pack), Slow(engine, 0.004, pack)
    scheduler = Scheduler(1)
    many = [job(crowd, images[:MAX_BATCH_IMAGES], 4) for _ in range(50)]  # type: ignore[arg-type]
    for each in many:
        scheduler.submit(each)
    gate.wait()
    meanwhile: list[int] = []
    for _ in range(5):
        one = job(few, images[:1], 4)  # type: ignore[arg-type]
        with gate.closed():
            before = crowd.runs
            one.future.add_done_callback(lambda _, before=before: meanwhile.append(crowd.runs - before))
            scheduler.submit(one)
        one.future.result(HANG_S)
    scheduler.close()
    # In turns, two packs of the crowd while two are computed for the few, but for those that were chosen before.
    assert max(meanwhile) <= 5
    assert all(each.future.done() for each in many)
