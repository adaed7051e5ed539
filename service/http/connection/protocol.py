"""HTTP/1.1 connections that end in time: slow clients, half-closed ones, and those that are gone.

A connection is closed in stages (lingering close, RFC 9112, section 9.6), so that a response that ends it reaches a
client that is still sending: a socket that is closed with bytes unread is reset, and the response is lost.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Any

from service.http.connection.framing import FramingProtocol
from service.http.connection.request_head import MessageError

# The application reports a late body in a problem document, so its own timeout must expire first.
APPLICATION_GRACE_S = 1.0
# Longest that what is sent after a refusal is read and dropped.
LINGER_S = 2.0
# Time for an answer after which a half-closed client is asked whether it is there, and the interval of looking after.
PROBE_AFTER_S, PROBE_INTERVAL_S = 1.0, 0.2
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class LimitedProtocol(FramingProtocol):
    """Close a connection whose client is too slow to send or to read.

    `timeout_s` applies to the request line and headers together, to the body, and to each part of a response that waits
    to be read. The application reports a late body that it reads; one that it does not read closes the connection.
    """

    def __init__(self, *arguments: Any, timeout_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timeout_s = timeout_s
        # The client's deadlines to send its request and to read, on the loop's clock; infinite while it waits for us.
        self._request_deadline = self._write_deadline = math.inf
        self._lingering = self._half_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extend_deadline(self._timeout_s)
        self._timer = self.loop.call_later(self._timeout_s, self._check_deadlines)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._probe):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._extend_deadline(self._timeout_s)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if not self._in_head:
            self._extend_deadline(self._timeout_s + APPLICATION_GRACE_S)
            self.cycle.transport = LingeringTransport(self)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._in_head:
            return
        if self._lingering:
            self.transport.close()
        elif self.cycle.response_complete:
            self._await_next_request()
        else:
            self._request_deadline = math.inf

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.cycle.more_body and not self._lingering:
            self._await_next_request()

    def pause_writing(self) -> None:
        self._write_deadline = self.loop.time() + self._timeout_s
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_deadline = math.inf
        super().resume_writing()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer requests that are complete before closing: a client may stop sending and wait (RFC 9112, section 9.6).

        One that is gone looks the same until something is written to it: see `_watch_half_closed`.
        """
        self._half_closed = True
        unparsed = bool(self._waiting) and self.scheme == "http"
        return unparsed or self._end_requests()

    def _feed(self) -> None:
        super()._feed()
        if self._half_closed and not self._waiting and not self._end_requests():
            self.transport.close()

    def _end_requests(self) -> bool:
        """Note that no more requests come; return whether some are still to be answered."""
        if self._lingering or self.transport.is_closing():
            return False
        if not self._deaf and (self._in_head or self.in_body):
            self._refuse(MessageError(400, "the request ended before it was complete"))
        self._keep_alive = False
        if not self._open or self.scheme == "https":  # TLS has no half-closed connections here
            return False
        self._open[-1].keep_alive = self._refusal is not None
        if self._probe is None:
            self._probe = self.loop.call_later(PROBE_AFTER_S, self._watch_half_closed, True)
        return True

    def _watch_half_closed(self, first: bool) -> None:
        """Find out whether the client of a half-closed connection is gone: a reset answers what is written to it then.

        An interim response is written, which clients of HTTP/1.1 ignore (RFC 9110, section 15.2).
        """
        if self.transport.is_closing() or not self._open:
            return
        cycle = self._open[0]
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        if first and cycle.scope["http_version"] == "1.1" and not cycle.response_started:
            self.transport.write(CONTINUE)
        self._probe = self.loop.call_later(PROBE_INTERVAL_S, self._watch_half_closed, False)

    def close_after_request(self) -> None:
        """Close the connection as soon as the answered request is complete, or late."""
        if not self.cycle.more_body or self._half_closed or self.transport.is_closing():
            return self.transport.close()
        self._lingering = True
        return self._write_eof()

    def end_connection(self) -> None:
        """Close the connection after a refusal: what the client is still sending is read and dropped for a while."""
        if self._half_closed:
            self.transport.close()
            return
        self._lingering = True
        self._write_eof()
        self.flow.resume_reading()
        assert self._timer is not None
        self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _write_eof(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _extend_deadline(self, seconds: float) -> None:
        self._request_deadline = self.loop.time() + seconds

    def _await_next_request(self) -> None:
        """Allow uvicorn's keep-alive time and ours; a client that is connected after both has not read its response."""
        self._extend_deadline(self.timeout_keep_alive + self._timeout_s)

    def _check_deadlines(self) -> None:
        """Close the connection of a late client, else check again: one timer serves all requests of a connection."""
        paused = self.flow.read_paused and not self._lingering
        if paused or (self._in_head and self._open):  # a pipelined request waits for the previous one
            self._extend_deadline(self._timeout_s)
        left_s = min(self._request_deadline, self._write_deadline) - self.loop.time()
        if left_s > 0:
            self._timer = self.loop.call_later(min(left_s, self._timeout_s), self._check_deadlines)
        elif self._in_head and not self._deaf and self._write_deadline == math.inf:
            self._refuse(MessageError(408, f"the headers took longer than {self._timeout_s:g} s"))
        else:
            self.transport.abort()


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
