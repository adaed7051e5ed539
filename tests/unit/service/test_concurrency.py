"""Work off the event loop: short work first, stopped with its caller, less urgent than the loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import pytest

from service.concurrency import (
    MAX_NICENESS,
    NICENESS,
    SHORT_S,
    Interrupted,
    WorkerPool,
    lower_thread_priority,
    run_in_thread,
)
from service.scheduling.scheduler import Scheduler
from tests.support.waiting import HANG_S


def test_computing_threads_step_back() -> None:
    """Whoever says so; the thread that started it stays as it is."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []

    def look() -> None:
        for _ in range(2):  # said twice, it is no more
            lower_thread_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    expected = min(before + NICENESS, MAX_NICENESS)
    assert found == [expected]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_scheduler_steps_back() -> None:
    """All its threads, soon after they are there."""
    expected = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS, MAX_NICENESS)
    scheduler = Scheduler(2)
    threads, end = [each.native_id for each in scheduler._threads], time.monotonic() + HANG_S

    def niceness() -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, each) for each in threads if each is not None}

    while niceness() != {expected}:
        assert time.monotonic() < end
        time.sleep(0.01)
    scheduler.close()


def test_a_thread_of_its_own_gives_its_result_or_its_error() -> None:
    """As a daemon: what is stuck keeps no process from ending."""
    assert run_in_thread(lambda: threading.current_thread().daemon, "own").result(HANG_S)
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 // 0, "own").result(HANG_S)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    workers = WorkerPool(2)
    yield workers
    workers.close()


def test_work_runs_elsewhere_and_returns_or_raises(pool: WorkerPool) -> None:
    async def ask() -> None:
        assert await pool.run(lambda _: threading.current_thread().name, 0.0) != threading.current_thread().name
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda _: 1 // 0, 0.0)

    asyncio.run(ask())


def test_short_work_does_not_wait_for_long(pool: WorkerPool) -> None:
    """However many pieces of long work there are: they begin on as many threads as there are cores."""
    begun, go = list[int](), threading.Event()

    def long(number: int) -> None:
        begun.append(number)
        go.wait(HANG_S)

    async def ask() -> None:
        waiting = [asyncio.create_task(pool.run(lambda _, n=n: long(n), 1.0)) for n in range(8)]  # type: ignore[misc]
        while len(begun) < pool.num_threads:
            await asyncio.sleep(0.001)
        for _ in range(5):
            assert await asyncio.wait_for(pool.run(lambda _: "short", SHORT_S), HANG_S) == "short"
        assert begun == [0, 1]
        go.set()
        await asyncio.gather(*waiting)
        assert sorted(begun) == list(range(8))

    asyncio.run(ask())


def test_longer_work_lets_shorter_pass(pool: WorkerPool) -> None:
    """Of what has not begun, the shortest runs first if all came at once."""
    order, go = list[float](), threading.Event()

    async def ask() -> None:
        blocking = [asyncio.create_task(pool.run(lambda _: go.wait(HANG_S), 1.0)) for _ in range(2)]
        await asyncio.sleep(0.05)
        more = [
            asyncio.create_task(pool.run(lambda _, s=seconds: order.append(s), seconds))  # type: ignore[misc]
            for seconds in (30.0, 10.0, 20.0, 5.0)
        ]
        await asyncio.sleep(0.05)
        for each in more[1:]:  # one thread only, so that the order is that of beginning
            assert not each.done()
        go.set()
        await asyncio.gather(*blocking, *more)

    asyncio.run(ask())
    assert set(order[:2]) == {5.0, 10.0}


def test_work_whose_caller_has_left_is_not_begun_or_stops(pool: WorkerPool) -> None:
    """Work in progress is told, and its caller ends only with it: its memory is in use until then."""
    stopped, ran = list[int](), list[int]()

    def patient(number: int, interrupted: Interrupted) -> None:
        end = time.monotonic() + HANG_S
        while not interrupted() and time.monotonic() < end:
            time.sleep(0.001)
        if interrupted():
            time.sleep(0.02)
            stopped.append(number)

    async def ask() -> None:
        running = [
            asyncio.create_task(pool.run(lambda interrupted, n=n: patient(n, interrupted), 1.0))  # type: ignore[misc]
            for n in range(2)
        ]
        queued = asyncio.create_task(pool.run(lambda _: ran.append(1), 1.0))
        await asyncio.sleep(0.05)
        queued.cancel()
        running[0].cancel()
        await asyncio.wait([queued, running[0]])
        assert queued.cancelled()
        assert running[0].cancelled()
        assert stopped == [0]
        running[1].cancel()
        await asyncio.wait(running)

    asyncio.run(ask())
    assert stopped == [0, 1]
    assert not ran


def test_a_pool_keeps_nothing_of_what_it_ran(pool: WorkerPool) -> None:
    """A picture is freed when it is decoded, not when its thread gets the next one."""
    import weakref

    class Large:
        """Something that is to be freed."""

    async def ask() -> weakref.ref[Large]:
        large = Large()
        await pool.run(lambda _, held=large: held, 0.0)  # type: ignore[misc]
        return weakref.ref(large)

    held = asyncio.run(ask())
    end = time.monotonic() + HANG_S
    while held() is not None:
        assert time.monotonic() < end
        time.sleep(0.001)
