"""Work ends with its client, and only then."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.http.disconnect import until_disconnected


def request(leaves: asyncio.Event) -> Request:
    async def receive() -> Message:
        await leaves.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def ask() -> None:
        leaves, ended = asyncio.Event(), list[str]()

        async def work() -> None:
            with until_disconnected(request(leaves)):
                try:
                    await asyncio.sleep(60)
                finally:
                    ended.append("work")

        asyncio.get_running_loop().call_later(0.1, leaves.set)
        with pytest.raises(ClientDisconnect):
            await work()
        assert ended == ["work"]

    asyncio.run(ask())


def test_work_of_a_client_that_stays_is_done() -> None:
    """Its result and its errors pass through, soon or late, and nothing is left behind."""

    async def work(seconds: float, divisor: int) -> float:
        with until_disconnected(request(asyncio.Event())):
            await asyncio.sleep(seconds)
            return 1 / divisor

    async def ask() -> None:
        for seconds in (0.0, 0.1):
            assert await work(seconds, 1) == 1
            with pytest.raises(ZeroDivisionError):
                await work(seconds, 0)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(ask())


def test_a_client_that_leaves_afterwards_disturbs_nothing() -> None:
    async def ask() -> None:
        leaves = asyncio.Event()
        with until_disconnected(request(leaves)):
            await asyncio.sleep(0.1)
        leaves.set()
        await asyncio.sleep(0.1)

    asyncio.run(ask())
