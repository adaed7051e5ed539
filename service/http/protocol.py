"""HTTP/1.1 protocol of uvicorn with limits on the size of a request's head and on slow clients.

A connection is closed in stages (lingering close, RFC 9112, section 9.6), so that a response that ends it reaches a
client that is still sending: a socket that is closed with bytes unread is reset, and the response is lost.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Far more than any client sends, and than one read returns, which may hold the beginning of a body after the headers.
MAX_HEAD_BYTES = 2**20
# The application reports a late body in a problem document, so its own timeout must expire first.
APPLICATION_GRACE_S = 1.0


class LimitedProtocol(HttpToolsProtocol):
    """Close a connection whose request head is too long, or whose client is too slow to send or to read.

    `timeout_s` applies to the request line and headers together, to the body, and to each part of a response that waits
    to be read. The application reports a late body that it reads; one that it does not read closes the connection.
    """

    def __init__(self, *arguments: Any, timeout_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timeout_s = timeout_s
        self._in_head, self._head_bytes = False, 0
        # The client's deadlines to send its request and to read, on the loop's clock; infinite while it waits for us.
        self._request_deadline = self._write_deadline = math.inf
        self._lingering = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extend_deadline(self._timeout_s)
        self._timer = self.loop.call_later(self._timeout_s, self._check_deadlines)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                return self._refuse(400, f"the headers are over the limit of {MAX_HEAD_BYTES:,} bytes")
        return super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._extend_deadline(self._timeout_s)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._extend_deadline(self._timeout_s + APPLICATION_GRACE_S)
        super().on_headers_complete()
        self.cycle.transport = LingeringTransport(self)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._lingering:
            self.transport.close()
        elif self.cycle.response_complete:
            self._await_next_request()
        else:
            self._request_deadline = math.inf

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.cycle.more_body:
            self._await_next_request()

    def pause_writing(self) -> None:
        self._write_deadline = self.loop.time() + self._timeout_s
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_deadline = math.inf
        super().resume_writing()

    def close_after_request(self) -> None:
        """Close the connection as soon as the answered request is complete, or late."""
        if not self.cycle.more_body or self.transport.is_closing():
            return self.transport.close()
        self._lingering = True
        return self.transport.write_eof() if self.transport.can_write_eof() else None

    def _extend_deadline(self, seconds: float) -> None:
        self._request_deadline = self.loop.time() + seconds

    def _await_next_request(self) -> None:
        """Allow uvicorn's keep-alive time and ours; a client that is connected after both has not read its response."""
        self._extend_deadline(self.timeout_keep_alive + self._timeout_s)

    def _check_deadlines(self) -> None:
        """Close the connection of a late client, else check again: one timer serves all requests of a connection."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.flow.read_paused or (self._in_head and answering):  # a pipelined request waits for the previous one
            self._extend_deadline(self._timeout_s)
        left_s = min(self._request_deadline, self._write_deadline) - self.loop.time()
        if left_s > 0:
            self._timer = self.loop.call_later(min(left_s, self._timeout_s), self._check_deadlines)
        elif self._in_head and self._write_deadline == math.inf:
            self._refuse(408, f"the headers took longer than {self._timeout_s:g} s")
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
    """Transport of one response: its writer decides whether to close the connection, the protocol decides when."""

    def __init__(self, protocol: LimitedProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: Any) -> None:
        if not self.is_closing():  # of pipelined requests, uvicorn tells only the latest that its client is gone
            self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close_after_request()
