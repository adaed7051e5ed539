"""What strangers' clients do to a server over its connections, each by one kind of fault; all end by themselves.

An attack is given an address and the bytes that a body may have, and returns the statuses of the answers that it saw.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial

from tests.support.hostile import bodies
from tests.support.hostile.bodies import BODIES, PICTURE, THRASH, Body
from tests.support.hostile.heads import CHUNKED, HEADS, LIVE, POST
from tests.support.hostile.pictures.bombs import (
    BOMBS,
    jpeg_exif_values,
    png_exif_values,
    png_two_headers,
    webp_of_few_bytes,
)

Address = tuple[str, int]
Attack = Callable[[Address, int], list[int]]
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
# How long an attack lasts that would not end, what it sends at most meanwhile, and how long it waits for an answer.
HOLD_S, MOST_SENT_BYTES, ANSWER_S = 3.0, 64 * 2**20, 30.0
# Pictures for a service with default settings; files as large as an attacker would send.
SIDE, FILE_BYTES = 4096, 2**21


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=ANSWER_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def answers(connection: socket.socket, seconds: float = ANSWER_S, count: int | None = None) -> list[int]:
    """The statuses of what comes until the other side ends, the time is over, or so many were seen."""
    received, end = b"", time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0 and (count is None or len(STATUS_LINE.findall(received)) < count):
            connection.settimeout(left)
            if not (more := connection.recv(2**16)):
                break
            received += more
    except OSError:
        pass
    return [int(status) for status in STATUS_LINE.findall(received)]


def request(body: Body) -> bytes:
    """A body with its head."""
    headers, data = body
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "path")
    head = f"POST {headers['path']} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
    return head.encode("latin-1") + data


def send(data: bytes, address: Address, count: int | None = 1) -> list[int]:
    """Send it all, whatever is said meanwhile, and read the answers."""
    with connected(address) as connection:
        with suppress(OSError):  # a server that refuses a body need not read it
            connection.sendall(data)
        return answers(connection, count=count)


@cache
def made(name: str, max_bytes: int) -> bytes:
    """A request of a kind of body."""
    return request((BODIES | THRASH)[name](max_bytes))


def post(name: str, address: Address, max_bytes: int) -> list[int]:
    """One request with a body of such a kind."""
    return send(made(name, max_bytes), address)


def leave(name: str, address: Address, max_bytes: int) -> list[int]:
    """Ten such requests, whose senders hang up at once."""
    for _ in range(10):
        with connected(address) as connection:
            connection.sendall(made(name, max_bytes))
    return []


@cache
def bomb(name: str) -> bytes:
    data = BOMBS[name](SIDE, FILE_BYTES)
    body = bodies.raw(data, name.rpartition(".")[2])
    return request(bodies.packed(body) if len(data) > 2**17 else body)


@cache
def orientations(kind: str) -> bytes:
    """EXIF with an orientation of millions of values, compressed."""
    data = png_exif_values(3_900_000) if kind == "png" else jpeg_exif_values()
    return request(bodies.packed(bodies.raw(data, kind)))


@cache
def forms_of(kind: str) -> bytes:
    """As many pictures as a request may have, each of millions of pixels."""
    return request(bodies.form(*[webp_of_few_bytes() if kind == "webp" else png_two_headers()] * 32))


def head(name: str, address: Address, max_bytes: int) -> list[int]:
    """Bytes of a connection, and half a second of patience."""
    with connected(address) as connection:
        with suppress(OSError):
            connection.sendall(HEADS[name])
        return answers(connection, 0.5)


def endless(begin: bytes, block: bytes, address: Address, max_bytes: int) -> list[int]:
    """A beginning, then the same again and again."""
    with connected(address) as connection:
        connection.sendall(begin)
        connection.settimeout(HOLD_S)
        end, left = time.monotonic() + HOLD_S, MOST_SENT_BYTES
        try:
            while time.monotonic() < end and left > 0:
                connection.sendall(block)
                left -= len(block)
        except OSError:
            pass
        return answers(connection, 0.5)


def stay(data: bytes, address: Address, max_bytes: int) -> list[int]:
    """Ten senders that stop in the middle, and stay."""
    opened = [socket.create_connection(address, timeout=ANSWER_S) for _ in range(10)]
    try:
        for connection in opened:
            connection.sendall(data)
        time.sleep(HOLD_S)
        return [status for connection in opened for status in answers(connection, 0.01)]
    except OSError:
        return []
    finally:
        for connection in opened:
            connection.close()


def dribble(data: bytes, address: Address, max_bytes: int) -> list[int]:
    """A sender of a byte now and then."""
    with connected(address) as connection:
        end = time.monotonic() + HOLD_S
        try:
            for place in range(len(data)):
                connection.sendall(data[place : place + 1])
                time.sleep(0.01)
                if time.monotonic() > end:
                    break
        except OSError:
            pass
        return answers(connection, 0.1)


def large_bodies(address: Address, max_bytes: int) -> list[int]:
    """Bodies of all bytes that are allowed but one, side by side; the last byte never comes."""
    begin = POST + b"Content-Length: %d\r\n\r\n" % max_bytes
    opened = []
    try:
        for _ in range(12):
            connection = socket.create_connection(address, timeout=ANSWER_S)
            opened.append(connection)
            connection.settimeout(HOLD_S)
            connection.sendall(begin + bytes(max_bytes - 1))
    except OSError:
        pass  # it takes no more
    time.sleep(0.5)
    for connection in opened:
        connection.close()
    return []


def slow_reader(address: Address, max_bytes: int) -> list[int]:
    """Large answers that nobody reads: all draws of 32 images, again and again."""
    wanted = bodies.tensor([32, 32, 32, 3], [7] * 32 * 3072, outputs=[{"name": "draws"}], parameters={"samples": "256"})
    data = request(bodies.document(wanted, bodies.INFER))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(ANSWER_S)
        connection.connect(address)
        connection.settimeout(HOLD_S)
        with suppress(OSError):
            for _ in range(8):
                connection.sendall(data)
        time.sleep(HOLD_S)
        return answers(connection, 0.1)


def pipelined(address: Address, max_bytes: int) -> list[int]:
    """Requests one after the other without an answer read, over a few connections that stay."""
    opened = []
    try:
        for _ in range(12):
            connection = socket.create_connection(address, timeout=ANSWER_S)
            opened.append(connection)
            connection.settimeout(0.5)
            with suppress(OSError):
                for _ in range(60):
                    connection.sendall((LIVE + b"\r\n") * 2_000)
        time.sleep(HOLD_S)
    except OSError:
        pass  # it takes no more
    for connection in opened:
        connection.close()
    return []


def reconnect(address: Address, max_bytes: int) -> list[int]:
    """Hundreds of connections that are closed again at once."""
    for number in range(300):
        with connected(address) as connection:
            if number % 2:
                connection.sendall(LIVE[: number % len(LIVE)])
    return []


ATTACKS: dict[str, Attack] = {
    **{f"body: {name}": partial(post, name) for name in (*BODIES, *THRASH)},
    **{f"picture: {name}": partial(lambda name, address, _: send(bomb(name), address), name) for name in BOMBS},
    **{f"head: {name}": partial(head, name) for name in HEADS},
    "picture: orientations.png": lambda address, _: send(orientations("png"), address),
    "picture: orientations.jpeg": lambda address, _: send(orientations("jpeg"), address),
    "picture: a form of WebP": lambda address, _: send(forms_of("webp"), address),
    "picture: a form of PNG with two headers": lambda address, _: send(forms_of("png"), address),
    "leaving: few bytes of WebP": partial(leave, "few bytes of WebP"),
    "leaving: two headers in PNG": partial(leave, "two headers in PNG"),
    "leaving: lists without end": partial(leave, "lists without end"),
    "leaving: all draws of dense": partial(leave, "all draws of dense"),
    "endless: trailers": partial(endless, LIVE + CHUNKED + b"0\r\n", b"a:\r\n" * 16_384),
    "endless: one trailer": partial(endless, LIVE + CHUNKED + b"0\r\na: ", b"b" * 65_536),
    "endless: head": partial(endless, LIVE, b"a: b\r\n" * 10_000),
    "endless: target": partial(endless, b"GET /", b"a" * 65_536),
    "endless: chunk extension": partial(endless, POST + CHUNKED + b"1;", b"a" * 65_536),
    "endless: chunks of a byte": partial(endless, POST + CHUNKED, b"1\r\na\r\n" * 10_000),
    "endless: body that nobody reads": partial(endless, LIVE + CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n"),
    "endless: requests that are not read": partial(endless, b"", (LIVE + b"\r\n") * 1000),
    "half: head": partial(stay, LIVE[:-5]),
    "half: body": partial(stay, POST + b"Content-Length: 1000\r\n\r\nabc"),
    "half: nothing": partial(stay, b""),
    "slow: head": partial(dribble, LIVE + b"X: " + b"a" * 1000),
    "slow: body": partial(dribble, request(bodies.raw(PICTURE))),
    "slow: reader": slow_reader,
    "large: bodies side by side": large_bodies,
    "many: connections": reconnect,
    "many: pipelined requests": pipelined,
}
