"""Keep the flow of a connection's requests: read no more than is parsed, and let connections take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

# Pause for each pipelined request beyond a slice, of all connections together: hardly any client sends those, and a
# flood of them would leave the threads that compute no time.
PIPELINED_REQUEST_S = 0.001


class PipelineTurns:
    """Let the connections of a server take turns with pipelined requests that wait, so many a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def pause(self, now: float, requests: int) -> float:
        """Return the seconds until a connection that has just sent so many requests may go on."""
        self._next = max(self._next, now) + PIPELINED_REQUEST_S * requests
        return self._next - now


class IntakeFlow(FlowControl):
    """Flow control that reads on only once everything received is parsed."""

    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], object]) -> None:
        super().__init__(transport)
        self._on_resume, self._reading = on_resume, True

    def pause_reading(self) -> None:
        self.read_paused = True
        self.read(False)

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._on_resume()

    def read(self, reading: bool) -> None:
        """Have the transport read, or not."""
        if reading != self._reading and not self._transport.is_closing():
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()
