"""Drain a server: on SIGTERM fail readiness, keep serving for a while, finish accepted requests, exit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReadyError
from service.http.problems import refuse
from service.signals import end_process, handled, start_thread

# From when requests must be finished until the process is gone, whatever of it still runs.
END_S = 1.5


class DrainingServer(uvicorn.Server):
    """Set `draining` on SIGTERM or SIGHUP, keep serving for `delay_s` seconds, then finish accepted requests and end.

    Requests that are not finished `finish_s` seconds later are answered 503 and their connections closed; the process
    is gone END_S after that. A second signal ends it at once. Ctrl-C has no delay.
    """

    def __init__(self, config: uvicorn.Config, draining: threading.Event, delay_s: float, finish_s: float) -> None:
        super().__init__(config)
        self._draining, self._delay_s, self._finish_s = draining, delay_s, finish_s
        config.timeout_graceful_shutdown = finish_s  # type: ignore[assignment]  # which waits for any time

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, unless it is another thread that serves."""
        if threading.current_thread() is not threading.main_thread():
            yield
        else:
            with handled(self.handle_exit):
                yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM, SIGHUP and SIGINT."""
        if self._draining.is_set():
            # The exit status of a process that died of a signal; a container's first process cannot die of one.
            end_process(128 + sig)
        self._draining.set()
        delay_s = 0.0 if sig == signal.SIGINT else self._delay_s
        start_thread(lambda: self._end(delay_s))

    def _end(self, delay_s: float) -> None:
        time.sleep(delay_s)
        self.should_exit = True
        time.sleep(self._finish_s + END_S)
        end_process(0)


class DrainingMiddleware:
    """Answer the last requests: close connections while draining, and refuse what cannot be finished in time."""

    def __init__(self, app: ASGIApp, draining: Callable[[], bool]) -> None:
        self.app, self.draining = app, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = False

        async def send_last(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start" and self.draining():
                # No request is sent on a connection that is about to end.
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            return await self.app(scope, receive, send_last)
        except asyncio.CancelledError:
            if begun:  # whoever reads it so slowly gets the rest no more
                return None
            error = NotReadyError("the service is ending: send the request again")
            return await refuse(Request(scope), error)(scope, receive, send_last)
