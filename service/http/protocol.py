"""HTTP/1.1 as uvicorn speaks it, and what that lacks: bounds on what a client sends and on how long it takes.

An answer that ends its connection reaches its client too, however much of the request is still on its way: a socket
that is closed with bytes unread is reset, and the answer is lost.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Far more than any client sends, and than one read gives, which may have the beginning of a body behind the headers.
MOST_HEAD_BYTES = 2**20
# By so much the application is the first to say that a body is late, since it says it better.
AFTER_APPLICATION_SECONDS = 1.0


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is ended once a request's head is too long, or its client too slow to send or to read.

    `seconds` are for the address and headers together, for the body, and for each part of an answer that waits to be
    read. Of a late body the application tells its client; one that it has no use for ends the connection alone.
    """

    def __init__(self, *arguments: Any, seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._seconds = seconds
        self._in_head, self._head_bytes = False, 0
        # When the client is too late with its request, and with reading; never, while it waits for us.
        self._late = self._unread = math.inf
        self._ending = False
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(self._seconds)
        self._watch = self.loop.call_later(self._seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                return self._refuse(400, f"the headers are over the limit of {MOST_HEAD_BYTES:,} bytes")
        return super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._allow(self._seconds)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._allow(self._seconds + AFTER_APPLICATION_SECONDS)
        super().on_headers_complete()
        self.cycle.transport = LingeringTransport(self)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._ending:
            self.transport.close()
        elif self.cycle.response_complete:
            self._idle()
        else:
            self._late = math.inf

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.cycle.more_body:
            self._idle()

    def pause_writing(self) -> None:
        self._unread = self.loop.time() + self._seconds
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = math.inf
        super().resume_writing()

    def end(self) -> None:
        """Close the connection, once the request that was answered has come whole, or is late."""
        if not self.cycle.more_body or self.transport.is_closing():
            return self.transport.close()
        self._ending = True
        return self.transport.write_eof() if self.transport.can_write_eof() else None

    @property
    def _waits_for_us(self) -> bool:
        """Whether another request of the client has to wait for the answer to its last."""
        return self.flow.read_paused or (self._in_head and self.cycle is not None and not self.cycle.response_complete)

    def _allow(self, seconds: float) -> None:
        self._late = self.loop.time() + seconds

    def _idle(self) -> None:
        """Wait for another request as long as uvicorn does; who is there still, later, has not read the answer."""
        self._allow(self.timeout_keep_alive + self._seconds)

    def _look(self) -> None:
        """End the connection if its client is late, else look again: one timer serves all requests of a connection."""
        if self._waits_for_us:
            self._allow(self._seconds)
        left = min(self._late, self._unread) - self.loop.time()
        if left > 0:
            self._watch = self.loop.call_later(min(left, self._seconds), self._look)
        elif self._in_head and self._unread == math.inf:
            self._refuse(408, f"the headers took longer than {self._seconds:g} s")
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(message)).encode()),
            (b"connection", b"close"),
        ]
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), *(b": ".join(each) for each in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", message.encode()]))
        self.transport.close()


class LingeringTransport(asyncio.Transport):
    """What one answer is written to; whether it closes the connection is its word, when is the protocol's."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: Any) -> None:
        if not self.is_closing():  # who hung up after two requests at once is asked about for the second only
            self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.end()
