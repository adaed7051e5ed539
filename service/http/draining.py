"""Drain a server: on SIGTERM fail readiness, keep serving for a while, finish accepted requests, exit."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import uvicorn


class DrainingServer(uvicorn.Server):
    """Set `draining` on SIGTERM, keep serving for `delay_s` seconds, then finish accepted requests.

    A second signal ends the process at once. Ctrl-C has no delay.
    """

    def __init__(self, config: uvicorn.Config, draining: threading.Event, delay_s: float) -> None:
        super().__init__(config)
        self._draining, self._delay_s = draining, delay_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT."""
        again = self._draining.is_set()
        self._draining.set()
        if again:
            # The exit status of a process that died of a signal; a container's first process cannot die of one.
            os._exit(128 + sig)
        elif sig == signal.SIGTERM and self._delay_s > 0:
            timer = threading.Timer(self._delay_s, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)
