"""Stop the work of a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.requests import ClientDisconnect, Request

# Seconds after which a request starts to watch for a disconnect; most are answered before.
WATCH_AFTER_S = 0.05


@contextmanager
def until_disconnected(request: Request) -> Iterator[None]:
    """Cancel the context when the client of a request, whose body has been read, disconnects.

    Raises ClientDisconnect then.
    """
    loop = asyncio.get_running_loop()
    watch: asyncio.Task[None] | None = None

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    def begin() -> None:
        nonlocal watch
        watch = loop.create_task(disconnected())

    later = loop.call_later(WATCH_AFTER_S, begin)
    try:
        with anyio.CancelScope() as scope:
            yield
    finally:
        later.cancel()
        if watch is not None:
            watch.cancel()
    if scope.cancelled_caught:
        raise ClientDisconnect
