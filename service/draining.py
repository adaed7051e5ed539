"""The end of a process that has clients: it says that it is leaving, answers for a while, then finishes and goes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class DrainingServer(uvicorn.Server):
    """On SIGTERM `app.state.draining` is set, and for some seconds it answers on; then it finishes what was accepted.

    A second signal ends the process at once. Ctrl-C does not wait.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, seconds: float) -> None:
        super().__init__(config)
        self._app, self._seconds = app, seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        again, self._app.state.draining = self._app.state.draining, True
        if again:
            # As a shell tells of a signal; the first process of a container cannot die of one.
            os._exit(128 + sig)
        elif sig == signal.SIGTERM and self._seconds > 0:
            timer = threading.Timer(self._seconds, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)


class LastAnswers:
    """While draining, each answer closes its connection, so that no request is sent on one that is about to end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["app"].state.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return await self.app(scope, receive, send_last)
