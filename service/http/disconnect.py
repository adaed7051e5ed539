"""Stop the work of a request when its client disconnects."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

# Seconds after which a request starts to watch for a disconnect; most are answered before.
WATCH_AFTER_S = 0.05


class until_disconnected:  # a context manager, used as one of contextlib's
    """Cancel the context when the client of a request, whose body has been read, disconnects.

    Raises ClientDisconnect then.
    """

    __slots__ = ("_gone", "_later", "_request", "_task", "_watch")

    def __init__(self, request: Request) -> None:
        self._request, self._gone = request, False
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._later = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._later.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._gone and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            raise ClientDisconnect from None

    def _begin(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._disconnected())

    async def _disconnected(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()
