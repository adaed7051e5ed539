"""Requests on one connection are the same however its bytes are cut, and what cannot be told apart ends it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from service.http.connection.framing import CHUNKS_PER_TURN, SLICE_BYTES
from service.http.connection.intake import PipelineTurns
from service.http.connection.protocol import LimitedProtocol
from service.http.connection.request_head import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES

HOST = b"Host: a\r\n"
CHUNKED = b"POST /chunked HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADES = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n",
)
# Requests that keep their connection, in all forms: with bodies of both framings, trailers, Upgrade, HEAD and Expect.
REQUESTS = (
    b"GET /get HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /head HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\nGET http://b/absolute HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /length HTTP/1.1\r\n" + HOST + b"Content-Length: 12\r\n\r\nGET / HTTP/1",
    b"POST /expect HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    CHUNKED + b"3;name=value\r\nabc\r\n1\r\nd\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n",
    *(b"GET /up HTTP/1.1\r\n" + HOST + upgrade + b"\r\n" for upgrade in UPGRADES),
    *(b"POST /up HTTP/1.1\r\n" + HOST + upgrade + b"Content-Length: 4\r\n\r\nGET " for upgrade in UPGRADES),
    CHUNKED.replace(HOST, HOST + UPGRADES[0]) + b"a\r\n0123456789\r\n0\r\n\r\n",
)
# What ends a connection.
ENDS = (
    b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" + REQUESTS[0],
    b"GET /old HTTP/1.0\r\n\r\n" + REQUESTS[0],
    b"GET / HTTP/1.1\r\n\r\n" + REQUESTS[0],
    b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n" + REQUESTS[0],
    b"this is no request\r\n\r\n" + REQUESTS[0],
    CHUNKED + b"3\r\nabc\r\nno size\r\n" + REQUESTS[0],
    CHUNKED + b"0\r\n" + b"a:\r\n" * (MAX_FIELDS + 1) + b"\r\n" + REQUESTS[0],
)


class Wire(asyncio.Transport):
    """The other side of a connection, which keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)})
        self.written, self.closed, self.ended, self.paused = b"", False, False, False

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers what it was sent."""
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
    host = dict(scope["headers"])[b"host"] if scope["headers"] else b""
    said = b"<%s %s %s %s>" % (scope["method"].encode(), scope["path"].encode(), host, body)
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


class Connection:
    """A connection to an application."""

    def __init__(self, app: Any = echo) -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", access_log=False)
        config.load()
        self.loop, self.wire = asyncio.new_event_loop(), Wire()
        self.protocol = LimitedProtocol(config, ServerState(), {}, self.loop, timeout_s=60.0, turns=PipelineTurns())
        self.protocol.connection_made(cast(Any, self.wire))

    def send(self, *pieces: bytes) -> None:
        """Send pieces, as far as the connection is read."""
        for piece in pieces:
            self.run()
            assert not self.wire.paused, "reading never goes on"
            if not self.wire.closed:
                self.protocol.data_received(piece)
        self.run()

    def run(self) -> None:
        """Let everything happen that can."""
        for _ in range(1000):
            self.loop.run_until_complete(asyncio.sleep(0))
            if self.protocol._turn is not None:  # which is some milliseconds later
                self.protocol._turn.cancel()
                self.protocol._take_turn()
                continue
            if not self.wire.paused and not self.loop._ready:  # type: ignore[attr-defined]
                return

    def close(self) -> None:
        self.protocol.connection_lost(None)
        self.run()
        self.loop.close()


@pytest.fixture
def connected() -> Iterator[Connection]:
    connection = Connection()
    yield connection
    connection.close()


def answers(*pieces: bytes) -> tuple[bytes, bool]:
    """Everything that is written in answer to some pieces, and whether the connection ends."""
    connection = Connection()
    try:
        connection.send(*pieces)
        return connection.wire.written, connection.wire.closed or connection.wire.ended
    finally:
        connection.close()


def test_upgrade_is_ignored_and_the_body_is_read_by_its_length(connected: Connection) -> None:
    for upgrade in UPGRADES:
        connected.send(b"POST /a HTTP/1.1\r\n" + HOST + upgrade + b"Content-Length: 33\r\n\r\n", REQUESTS[0], b"123")
    assert connected.wire.written.count(b"HTTP/1.1 200 OK") == 3
    assert connected.wire.written.count(b"<POST /a a GET /get HTTP/1.1\r\nHost: a\r\n\r\n123>") == 3


@given(st.lists(st.sampled_from(REQUESTS), max_size=8), st.sampled_from((b"", *ENDS)), st.data())
def test_answers_do_not_depend_on_how_the_bytes_are_cut(requests: list[bytes], end: bytes, data: st.DataObject) -> None:
    """Pipelined requests in one piece, each in its own, and cut anywhere."""
    stream = b"".join([*requests, end])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    whole = answers(stream) if stream else answers()
    assert answers(*pieces) == whole
    assert answers(*requests, *filter(None, [end])) == whole
    expected = b"".join(answers(request)[0] for request in requests)
    assert whole[0].startswith(expected)
    assert whole[1] == bool(end)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_answered_after_the_last_response(end: bytes) -> None:
    said, ended = answers(REQUESTS[0] + end)
    assert ended
    assert said.count(b"HTTP/1.1 ") == 2
    assert said.count(b"/get") == 1


def test_byte_by_byte() -> None:
    stream = b"".join(REQUESTS) + ENDS[0]
    assert answers(*(stream[i : i + 1] for i in range(len(stream)))) == answers(stream)


def test_an_error_waits_for_the_answers_before_it() -> None:
    """Else the error of the second request would be taken for the answer to the first."""
    said, _ = answers(REQUESTS[3] + CHUNKED + b"no size\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"400"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * MAX_FIELDS + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * (MAX_HEAD_BYTES + SLICE_BYTES), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA:" + b" " * (MAX_HEAD_BYTES + SLICE_BYTES), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * (MAX_HEAD_BYTES + SLICE_BYTES), 431),
        (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * MAX_TARGET_BYTES, 414),
        (b"\r\n" * MAX_HEAD_BYTES, 400),
    ],
)
def test_heads_are_bounded(head: bytes, status: int) -> None:
    """In bytes and fields, whole or unfinished, in one piece or in many."""
    for size in (len(head), 1000):
        said, ended = answers(*(head[start : start + size] for start in range(0, len(head), size)))
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert ended


@pytest.mark.parametrize(
    "rest",
    [
        b"0\r\n" + b"a:\r\n" * (MAX_FIELDS + 1),
        b"0\r\na: " + b"a" * (MAX_HEAD_BYTES + SLICE_BYTES),
        b"0\r\n" + (b"a: " + b"a" * 2000 + b"\r\n") * 40,
        b"1;" + b"a" * (MAX_HEAD_BYTES + SLICE_BYTES),
        (b"1;" + b"a" * 500 + b"\r\nb\r\n") * 200,
        b"0;" + b"a" * (MAX_HEAD_BYTES + SLICE_BYTES) + b"\r\n",
    ],
)
def test_trailers_and_chunk_extensions_are_bounded_like_heads(rest: bytes) -> None:
    for size in (len(rest), 1000):
        said, ended = answers(CHUNKED, *(rest[start : start + size] for start in range(0, len(rest), size)))
        assert said.startswith(b"HTTP/1.1 400 ")
        assert ended


def test_what_is_within_the_bounds_is_answered() -> None:
    """A head of 64 KiB and 128 fields, as many trailers, and a body in chunks of one byte."""
    fields = b"".join(b"A: %s\r\n" % (b"a" * 500) for _ in range(MAX_FIELDS - 1))
    assert answers(b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n")[0].startswith(b"HTTP/1.1 200 ")
    trailers = b"a: 1\r\n" * (MAX_FIELDS - 2)
    said, ended = answers(CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n" + trailers + b"\r\n")
    assert b"a" * 20_000 in said
    assert not ended


def test_trailers_do_not_become_headers(connected: Connection) -> None:
    """Whoever reads the head after the body sees what came before it."""
    connected.send(CHUNKED + b"0\r\nHost: evil\r\n\r\n")
    assert b"<POST /chunked a >" in connected.wire.written


def test_many_pipelined_requests_are_not_parsed_before_their_turn(connected: Connection) -> None:
    """However many come in one piece, few of them are held ready, and all are answered in order."""
    count = 5000
    connected.protocol.data_received(b"".join(b"GET /%d HTTP/1.1\r\n%s\r\n" % (n, HOST) for n in range(count)))
    assert len(connected.protocol.pipeline) < SLICE_BYTES / 25
    while len(re.findall(rb"</?GET", connected.wire.written)) < count:
        before = len(connected.wire.written)
        connected.run()
        assert len(connected.wire.written) > before
    assert [int(n) for n in re.findall(rb"<GET /(\d+) ", connected.wire.written)] == list(range(count))


def test_the_loop_has_its_turn_between_small_chunks() -> None:
    """A piece full of them is not parsed at once."""
    connection = Connection()
    connection.protocol.data_received(CHUNKED + b"1\r\na\r\n" * 40_000)
    assert len(connection.protocol.cycle.body) < 10 * CHUNKS_PER_TURN
    assert connection.wire.paused
    connection.run()
    assert not connection.wire.paused
    connection.protocol.data_received(b"0\r\n\r\n")
    connection.run()
    assert b"a" * 40_000 in connection.wire.written
    connection.close()


def test_an_answer_that_does_not_wait_for_the_body_ends_the_connection() -> None:
    """Unless little is left, or all has come: what follows would be taken for a request, or be read without end."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    for fields, body, ends in (
        (b"Content-Length: 999999999\r\n", b"", True),
        (b"Content-Length: 3\r\n", b"", False),
        (b"Content-Length: 100000\r\n", bytes(100_000), False),
        (b"Content-Length: 3\r\nExpect: 100-continue\r\n", b"", True),
        (b"Transfer-Encoding: chunked\r\n", b"", True),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", False),
    ):
        connection = Connection(refuse)
        connection.send(b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body)
        assert connection.wire.written.startswith(b"HTTP/1.1 413 ")
        assert (b"connection: close" in connection.wire.written) == ends
        assert (connection.wire.ended or connection.wire.closed) == ends
        connection.close()


def test_expect_is_for_bodies_of_http_1_1() -> None:
    for head, asked in (
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", False),
    ):
        connection = Connection()
        connection.send(head)
        assert connection.wire.written.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == asked
        connection.close()
