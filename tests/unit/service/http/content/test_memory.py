"""Requests in progress share memory: each part up to its share, small ones always, others in turn or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import OverloadedError, TooLargeError
from service.http.content.memory import (
    MIB,
    SHARES,
    SMALL_FRACTION,
    SMALL_SIZE,
    TRIM_BYTES,
    Part,
    RequestMemory,
    Reservation,
)

CAPACITY = 64 * MIB
PARTS: tuple[Part, ...] = ("bodies", "pictures", "answers")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def held(memory: RequestMemory, part: Part, nbytes: int) -> Reservation:
    reservation = Reservation(memory, part)
    await reservation.grow(nbytes, "this")
    return reservation


def test_what_is_too_large_for_ever_is_refused_at_once() -> None:
    """With what it needs and what there is; nothing is held."""
    memory = RequestMemory(CAPACITY, max_wait_s=60)

    async def work() -> None:
        for part in PARTS:
            with pytest.raises(TooLargeError, match="the body needs 100 MiB of memory: at most"):
                await Reservation(memory, part).grow(100 * MIB, "the body")
            largest = await held(memory, part, memory.largest(part))
            assert memory.used[part] == memory.largest(part)
            largest.shrink(0)
        assert set(memory.used.values()) == {0}

    run(work())


def test_what_does_not_fit_now_waits_for_others_or_is_refused() -> None:
    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=0.05)
        first = await held(memory, "bodies", 16 * MIB)
        with pytest.raises(OverloadedError, match="needs memory that other requests use") as refused:
            await held(memory, "bodies", 16 * MIB)
        assert refused.value.headers()["Retry-After"]
        memory.max_wait_s = 60
        second = asyncio.create_task(held(memory, "bodies", 16 * MIB))
        await asyncio.sleep(0.01)
        assert not second.done()
        first.shrink(0)
        assert (await second).nbytes == memory.used["bodies"] == 16 * MIB

    run(work())


def test_who_waits_longest_is_next() -> None:
    async def work() -> None:
        memory, order = RequestMemory(CAPACITY, max_wait_s=60), list[int]()
        everything = await held(memory, "answers", memory.largest("answers"))

        async def waiting(number: int) -> None:
            (await held(memory, "answers", memory.largest("answers"))).shrink(0)
            order.append(number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(waiting(number))
                await asyncio.sleep(0)
            everything.shrink(0)
        assert order == [0, 1, 2, 3, 4]

    run(work())


def test_small_requests_pass_large_ones() -> None:
    """Even where large ones use all that they may, and others of them wait."""

    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=60)
        await held(memory, "bodies", memory.largest("bodies"))
        large = asyncio.create_task(held(memory, "bodies", 4 * MIB))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            for _ in range(int(SMALL_FRACTION / SMALL_SIZE)):
                await held(memory, "bodies", int(SMALL_SIZE * CAPACITY))
        assert not large.done()
        large.cancel()

    run(work())


def test_large_requests_do_not_wait_for_small_ones() -> None:
    """However many there are, as long as they fit into what is kept for them."""

    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=60)
        for _ in range(int(SMALL_FRACTION / SMALL_SIZE)):
            await held(memory, "bodies", int(SMALL_SIZE * CAPACITY))
        async with asyncio.timeout(5):
            await held(memory, "pictures", memory.largest("pictures"))

    run(work())


def test_the_heap_is_trimmed_once_much_was_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after each small request."""
    trims = list[float]()
    monkeypatch.setattr("service.http.content.memory.trim_heap_soon", trims.append)

    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=60)
        for _ in range(int(TRIM_BYTES / MIB)):
            (await held(memory, "bodies", MIB)).shrink(0)
        assert trims == []
        (await held(memory, "bodies", MIB)).shrink(0)
        assert len(trims) == 1
        (await held(memory, "bodies", MIB)).shrink(0)
        assert len(trims) == 1

    run(work())


def test_later_stages_have_room_whatever_earlier_ones_hold() -> None:
    """So requests that hold bodies, all that there may be, get their pictures and answers, and none waits for ever."""

    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=60)
        async with asyncio.timeout(5):
            await held(memory, "bodies", memory.largest("bodies"))
            await held(memory, "pictures", int((SHARES["pictures"] - SHARES["bodies"]) * CAPACITY))
            await held(memory, "answers", int((SHARES["answers"] - SHARES["pictures"]) * CAPACITY))

    run(work())


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(0, 24 * MIB)), max_size=40), st.randoms())
def test_the_sum_is_never_above_the_capacity(wishes: list[tuple[Part, int]], random: Any) -> None:
    """Whatever is asked for, in any order of endings; in the end nothing is held."""

    async def one(memory: RequestMemory, part: Part, nbytes: int) -> None:
        with Reservation(memory, part) as reservation:
            for size in (nbytes // 2, nbytes - nbytes // 2):
                await reservation.grow(size, "this")
                assert sum(memory.used.values()) <= memory.capacity
                await asyncio.sleep(0)
            reservation.shrink(nbytes // 3)
            await asyncio.sleep(0)

    async def work() -> None:
        memory = RequestMemory(CAPACITY, max_wait_s=0.01)
        tasks = [asyncio.create_task(one(memory, part, nbytes)) for part, nbytes in wishes]
        for task in tasks:
            if random.random() < 0.2:
                await asyncio.sleep(0)
                task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, OverloadedError | asyncio.CancelledError) for end in ends)
        assert set(memory.used.values()) == {0}

    run(work())
