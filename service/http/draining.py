"""The end of a process that has clients: it says that it is leaving, answers for a while, then finishes and goes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI


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
