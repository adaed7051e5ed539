"""Slow clients on real sockets: whoever is late is ended, whoever is only unlucky is answered, and gets to read it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import orjson
import pytest

from service.http.api_keys import Key
from tests.support.sockets import connection, served
from tests.support.waiting import HANG_S

SECONDS = 0.6
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """Of one for all tests here."""
    with served(digits_store, receive_seconds=SECONDS) as url:
        yield url


def dribble(to: socket.socket, byte: bytes) -> bytes:
    """Send a byte now and then until the other side ends, and return its answer; it must end."""
    begun, said = time.monotonic(), b""
    to.settimeout(0.05)
    while time.monotonic() - begun < HANG_S:
        try:
            to.sendall(byte)
            said += (more := to.recv(65536))
            if not more:
                return said
        except TimeoutError:
            continue
        except OSError:  # it was reset after what it had said
            return said
    raise AssertionError("the other side never ended")


def test_who_says_nothing(url: str) -> None:
    """Is let go of."""
    begun = time.monotonic()
    with connection(url) as opened:
        assert opened.recv(1) == b""
    assert time.monotonic() - begun > SECONDS - 0.1


def test_dribbled_headers(url: str) -> None:
    """Are given up, in words, though there was always one more byte; nobody else waits meanwhile."""
    begun = time.monotonic()
    with connection(url) as opened:
        opened.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ")
        said = dribble(opened, b"a")
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert said.endswith(b"the headers took longer than 0.6 s")
    assert time.monotonic() - begun > SECONDS - 0.1
    assert httpx.get(f"{url}/livez").status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/v2/models/digits/infer"])
def test_dribbled_body(url: str, path: str) -> None:
    """Is a problem that is documented and counted, and the end of the connection."""
    with connection(url) as opened:
        opened.sendall(HEAD.replace(b"/predict", path.encode()))
        said = dribble(opened, b"a")
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert re.search(rb"(?i)^connection: close\r$", said, re.MULTILINE)
    problem = orjson.loads(said.partition(b"\r\n\r\n")[2])
    assert (
        problem.get("detail", problem.get("error")) == "the body took longer than 0.6 s to arrive: send less, or faster"
    )
    assert re.search(r'slimbayes_requests_total\{.*reason="slow_client".*\} 1\.0', httpx.get(f"{url}/metrics").text)
    route = next(item for name, item in httpx.get(f"{url}/openapi.json").json()["paths"].items() if "infer" in name)
    assert "408" in route["post"]["responses"]


def test_dribbled_body_that_nobody_reads(url: str) -> None:
    """Holds its connection no longer than one that is read, though its answer was there at once."""
    with connection(url) as opened:
        opened.sendall(HEAD.replace(b"/predict", b"/nowhere"))
        said = dribble(opened, b"a")
    assert said.startswith(b"HTTP/1.1 404 ")


def test_an_answer_that_is_not_read(url: str) -> None:
    """Ends with its connection."""
    with connection(url) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end = time.monotonic() + HANG_S
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            while time.monotonic() < end:
                opened.sendall(b"GET /page/inter.woff2 HTTP/1.1\r\nHost: a\r\n\r\n")
                time.sleep(0.05)


def test_who_waits_for_the_service_has_all_the_time(url: str, example: bytes) -> None:
    """A long answer is not a slow client, and a connection may rest between requests."""
    query, files = {"samples": 64}, [("images", ("a", example))] * 32
    with httpx.Client(base_url=url, timeout=HANG_S) as client:
        begun = time.monotonic()
        while time.monotonic() - begun < 2 * SECONDS:
            assert client.post("/predict", params=query, files=files).status_code == 200
        (only,) = client._transport._pool.connections  # type: ignore[attr-defined]
        time.sleep(2 * SECONDS)
        assert not only.has_expired()
        assert client.post("/predict", params=query, files=files).status_code == 200
        assert client._transport._pool.connections == [only]  # type: ignore[attr-defined]


Send = Callable[[str, bytes], int]


def closing(url: str, body: bytes) -> int:
    """The status that Python's own client gets, which sends all of its body first, with `Connection: close`."""
    try:
        with urlopen(Request(url, body, {"Content-Type": "image/png"}), timeout=HANG_S) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


def keeping(url: str, body: bytes) -> int:
    """The status that a client gets who keeps its connection."""
    with httpx.Client() as client:
        first = client.post(url, content=body, headers={"Content-Type": "image/png"}).status_code
        assert client.post(url, content=body, headers={"Content-Type": "image/png"}).status_code == first
        return first


@pytest.mark.parametrize("send", [closing, keeping])
def test_a_refusal_is_read_however_large_the_body(digits_store: Path, tmp_path: Path, send: Send) -> None:
    """Whoever is refused before the body was read hears why, on a connection that is not reset."""
    keys = tmp_path / "keys"
    keys.write_text(f"{Key.make('ann', 'user')[1]}\n")
    with served(digits_store, receive_seconds=HANG_S, keys_file=keys) as url:
        for _ in range(3):
            assert send(f"{url}/predict", bytes(8_000_000)) == 401
