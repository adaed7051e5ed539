"""Tell requests apart on a connection (RFC 9112) within bounds, whatever its client sends.

uvicorn's protocol and its parser do the reading. This adds what they lack: bounds of heads, trailers, chunk framing and
pipelined requests, `Upgrade` ignored, and errors that are answered in turn.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.http.connection.intake import IntakeFlow, PipelineTurns
from service.http.connection.request_head import (
    HEAD_LIMIT,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_TARGET_BYTES,
    MessageError,
    RequestHead,
    check_head,
    check_trailers,
    origin_form,
)

# Bytes parsed between two looks at the pipeline and the event loop; longer pieces are of one body.
SLICE_BYTES = 8192
# After so many chunks in a slice the event loop has its turn.
CHUNKS_PER_TURN = 256
# Framing that a chunk may have at no charge: its size in hexadecimal, and the ends of two lines.
CHUNK_FRAMING_BYTES = 16
# Rest of a body that is read and dropped to keep its connection after an early response.
MAX_DROPPED_BYTES = 64 * 2**10


class FramingProtocol(HttpToolsProtocol):
    """Parse requests one slice after the other, and refuse what is no request with a response in its turn."""

    def __init__(self, *arguments: Any, turns: PipelineTurns, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turns = turns
        self._turn: asyncio.TimerHandle | None = None
        # Requests that began since the latest turn.
        self._begun = 0
        self._intake: IntakeFlow = None  # type: ignore[assignment]
        # Received, not parsed.
        self._waiting: deque[memoryview] = deque()
        # Requests whose response is not complete, in order.
        self._open: deque[RequestResponseCycle] = deque()
        self._in_head = False
        # The latest head, its fields, and those after its body.
        self._head, self._num_fields = RequestHead(0, 0), 0
        # Bytes outside of content since the latest part of a message began; then of one slice, what is not counted.
        self._framing_bytes = 0
        self._part_began, self._content, self._chunks = False, 0, 0
        # Of a body by Content-Length.
        self._body_left = 0
        # Whether another request may follow; whether what is received is dropped; the refusal that ends the connection.
        self._keep_alive, self._deaf = True, False
        self._error: MessageError | None = None
        self._refusal: MessageError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._intake = IntakeFlow(transport, lambda: self.loop.call_soon(self._feed))

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.clear()
        self._deaf = True
        for cycle in self._open:  # uvicorn tells only the latest
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if len(data) <= SLICE_BYTES and not self._waiting and not self.pipeline and not self.flow.read_paused:
            self._unset_keepalive_if_required()
            self._parse(data)
        else:
            self._waiting.append(memoryview(data))
        if self._waiting:
            self._feed()

    def shutdown(self) -> None:
        self._keep_alive = False
        super().shutdown()

    def _feed(self) -> None:
        """Parse what waits, until a request waits for its turn, a body for its reader, or others for the event loop."""
        if self._turn is not None:
            return
        while self._waiting and not self.pipeline and not self.flow.read_paused and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            piece = self._waiting.popleft()
            size = max(SLICE_BYTES, self._body_left)
            if len(piece) > size:
                self._waiting.appendleft(piece[size:])
            self._parse(piece[:size])
            if self._chunks > CHUNKS_PER_TURN and self._waiting:
                self.loop.call_soon(self._feed)
                break
        self._intake.read(not self._waiting and not self.flow.read_paused)

    def _parse(self, data: memoryview | bytes) -> None:
        self._part_began, self._content, self._chunks = False, 0, 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._waiting.appendleft(memoryview(data)[upgrade.args[0] :])
            self._parse(self._head_without_upgrade())
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(self._error or MessageError(400, f"this is no valid request: {error}"))
        else:
            self._check_framing(len(data))

    def _check_framing(self, received: int) -> None:
        """Refuse an unfinished head, chunk framing or trailers that are too long already."""
        if self._part_began:
            return
        self._framing_bytes = max(0, self._framing_bytes + received - self._content)
        num_fields = len(self.headers or ()) + (0 if self._in_head else self._num_fields)
        if self._framing_bytes > MAX_HEAD_BYTES or num_fields > MAX_FIELDS:
            what, status = ("request line and headers", 431) if self._in_head else ("chunk sizes and trailers", 400)
            self._refuse(MessageError(status, f"the {what} are over the limit of {HEAD_LIMIT}"))

    def _head_without_upgrade(self) -> bytes:
        """Return the head that was read without its Upgrade: a parser that sees one does not read the body.

        A server may ignore the field (RFC 9110, section 7.8), and this one speaks nothing but HTTP/1.1.
        """
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        return b"".join([line, *fields, b"\r\n"])

    def on_message_begin(self) -> None:
        self._begun += 1
        if not self._keep_alive or self.transport.is_closing():  # nothing is answered after the last response
            self._deaf = True
            self._waiting.clear()
            raise MessageError(400, "the connection is about to be closed")
        self._begin_part()
        self._in_head = True
        super().on_message_begin()

    def _begin_part(self) -> None:
        self._part_began, self._framing_bytes = True, 0

    def _raise(self, status: int, message: str) -> None:
        """Stop the parser with an error that is the client's."""
        self._error = MessageError(status, message)
        raise self._error

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._raise(414, f"the request target is over the limit of {MAX_TARGET_BYTES:,} bytes")

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                self._raise(501, "this is no proxy: expected a request of its own")
            return
        try:
            self._read_head(method)
        except MessageError as error:
            self._error = error
            raise
        self._begin_part()
        self._in_head = False
        super().on_headers_complete()
        # Trailers go to a list of their own: whoever read the head must not see it change.
        self._num_fields, self.headers = len(self.headers), []
        self._open.append(self.cycle)
        self._keep_alive = self.cycle.keep_alive
        # Until the body is complete: a response that does not wait for it ends the connection, unless little is left.
        if self._head.body_bytes > MAX_DROPPED_BYTES or self.expect_100_continue:
            self.cycle.keep_alive = False

    def _read_head(self, method: bytes) -> None:
        """Check the head that is complete, and note what its body will be; raise MessageError."""
        version = self.parser.get_http_version()
        self._head = check_head(version, self.url, self.headers)
        self.url, host = origin_form(method, self.url)
        if host is not None:
            self.headers[:] = [(b"host", host), *(field for field in self.headers if field[0] != b"host")]
        announced = self._head.body_bytes
        self._body_left = 0 if announced == math.inf else int(announced)
        if version == "1.0" or announced == 0:
            self.expect_100_continue = False

    def on_chunk_header(self) -> None:
        self._content += CHUNK_FRAMING_BYTES
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:  # of one with Upgrade, which is parsed again
            return
        if self.headers:
            self._check_trailers()
        self._begin_part()
        self._body_left = 0
        super().on_message_complete()
        self.cycle.more_body = False
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive

    def _check_trailers(self) -> None:
        try:
            check_trailers(self._head, self._num_fields, self.headers)
        except MessageError as error:
            self._error = error
            raise

    def on_response_complete(self) -> None:
        self._open.popleft()
        super().on_response_complete()
        if self._waiting and not self.pipeline and self._turn is None:
            pause_s, self._begun = self._turns.pause(self.loop.time(), self._begun), 0
            self._turn = self.loop.call_later(pause_s, self._take_turn)
        self._answer_refusal()

    def _take_turn(self) -> None:
        self._turn = None
        self._feed()

    def _refuse(self, error: MessageError) -> None:
        """Read no more requests; once all before it are answered, answer what cannot be read, and close."""
        self._deaf = True
        self._waiting.clear()
        if self.in_body and self.cycle.response_started:  # it has its response, which is the last
            self.cycle.more_body = False
            if self.cycle.response_complete:
                self.transport.close()
            return
        if self.in_body:
            self._withdraw()
        self._refusal = error
        self._answer_refusal()

    @property
    def in_body(self) -> bool:
        """Return whether the latest request is being received, after its head."""
        return not self._in_head and self.cycle is not None and self.cycle.more_body

    def _withdraw(self) -> None:
        """Take back the latest request, whose body is not valid."""
        self._open.pop()
        if self.pipeline:
            self.pipeline.popleft()
        self.cycle.disconnected = self.cycle.response_complete = True
        self.cycle.message_event.set()

    def _answer_refusal(self) -> None:
        if self._refusal is None or self._open or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        error, self._refusal = self._refusal, None
        message = str(error).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(message)).encode()),
            (b"connection", b"close"),
        ]
        status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
        self.transport.write(b"\r\n".join([status, *(b": ".join(each) for each in headers), b"", message]))
        self.end_connection()

    def end_connection(self) -> None:
        """Close the connection after the last response."""
        self.transport.close()
