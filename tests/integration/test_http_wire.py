"""Requests byte by byte as clients write them, on real sockets, and the answers that they wait for."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.support.services import running_service
from tests.support.waiting import HANG_S

Response = tuple[int, dict[bytes, bytes], bytes]
LIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """Of a service of the digits."""
    with running_service(digits_store) as (url, _):
        yield url


@pytest.fixture(scope="module")
def expected(url: str, example: bytes) -> Any:
    """What the service answers to the digit under four draws."""
    headers = {"Content-Type": "image/png"}
    response = httpx.post(f"{url}/predict", params={"samples": 4}, content=example, headers=headers, timeout=HANG_S)
    return response.json()["predictions"]


@pytest.fixture
def connection(url: str) -> Iterator[socket.socket]:
    """A plain connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=HANG_S) as opened:
        yield opened


def receive(opened: socket.socket, head_only: bool = False) -> Response:
    """Status, headers and body of the next answer, which must not take one byte of what follows."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = opened.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    line, *fields = head.split(b"\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
    body, length = b"", 0 if head_only else int(headers.get(b"content-length", 0))
    while len(body) < length:
        body += opened.recv(length - len(body))
    return int(line.split()[1]), headers, body


def chunked(data: bytes, size: int = 37, extension: bytes = b"") -> bytes:
    """A body in chunks, the last of which is empty."""
    parts = [data[begin : begin + size] for begin in range(0, len(data), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n\r\n"


def part(boundary: bytes, *fields: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the only entry of a form."""
    head = b"\r\n".join([b"--" + boundary, *fields, b"", b""])
    return head, b"\r\n--" + boundary + b"--\r\n"


def request(version: bytes, headers: list[bytes], body: bytes, announced: bool = True) -> bytes:
    """One request to classify a picture."""
    length = [b"Content-Length: %d" % len(body)] if announced else []
    return b"\r\n".join([b"POST /predict?samples=4 HTTP/" + version, *headers, *length, b"", b""]) + body


UPGRADE = [
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
]
HOST, PNG = b"Host: 127.0.0.1:8000", b"Content-Type: image/png"


def written(picture: bytes) -> dict[str, bytes]:
    """One request of each client, as its source or its documentation has it."""
    go = b"5f1d7a84db0b2e2aa5c8ea1fb1d7c90a9aa4c4f2f0b2b5ae44dbd7e1f2c3"
    # mime/multipart and net/http, which does not announce the length of a body that it streams.
    go_head, go_tail = part(
        go,
        b'Content-Disposition: form-data; name="images"; filename="a.png"',
        b"Content-Type: application/octet-stream",
    )
    go_form = go_head + picture + go_tail
    go_headers = [HOST, b"User-Agent: Go-http-client/1.1", b"Content-Type: multipart/form-data; boundary=" + go]
    go_headers.append(b"Accept-Encoding: gzip")
    # OkHttp and Retrofit.
    ok_head, ok_tail = part(
        b"1ae6ca10-6b4c-4b6c-a9d6-8f8f6b2b4a55",
        b'Content-Disposition: form-data; name="images"; filename="a.png"',
        b"Content-Type: image/png",
        b"Content-Length: %d" % len(picture),
    )
    # .NET's HttpClient with MultipartFormDataContent: quotes around the boundary, none around names.
    net_head, net_tail = part(
        b"8a2e4f5b-93a4-4be6-98f1-0e4a1f4f2d55",
        b"Content-Type: image/png",
        b"Content-Disposition: form-data; name=images; filename=a.png; filename*=utf-8''%D1%84.png",
    )
    # Apache HttpClient 4 in strict mode.
    apache_head, apache_tail = part(
        b"Ga1xq2Vd-kz_9kpWm0",
        b'Content-Disposition: form-data; name="images"; filename="a.png"',
        b"Content-Type: application/octet-stream",
        b"Content-Transfer-Encoding: binary",
    )
    # Firefox, Chromium and Safari differ by the boundary alone.
    web_head, web_tail = part(
        b"----WebKitFormBoundaryA7c1WmQ3Zr8yYtUe",
        b'Content-Disposition: form-data; name="images"; filename="%22\xd1\x84%22.png"',
        b"Content-Type: image/png",
    )
    text = b64encode(picture)
    return {
        "Go, announced": request(b"1.1", go_headers, go_form),
        "Go, streamed": request(
            b"1.1", [*go_headers, b"Transfer-Encoding: chunked"], chunked(go_form, 2048), announced=False
        ),
        "Java's HttpClient": request(b"1.1", [*UPGRADE[:1], HOST, *UPGRADE[1:], b"User-Agent: Java", PNG], picture),
        "Java's HttpClient, streamed": request(
            b"1.1", [*UPGRADE, HOST, PNG, b"Transfer-encoding: chunked"], chunked(picture), announced=False
        ),
        "Java's HttpURLConnection": request(
            b"1.1", [PNG, b"User-Agent: Java/17", HOST, b"Accept: */*", b"Connection: keep-alive"], picture
        ),
        "OkHttp": request(
            b"1.1",
            [b"Content-Type: multipart/form-data; boundary=1ae6ca10-6b4c-4b6c-a9d6-8f8f6b2b4a55", HOST],
            ok_head + picture + ok_tail,
        ),
        ".NET": request(
            b"1.1",
            [HOST, b'Content-Type: multipart/form-data; boundary="8a2e4f5b-93a4-4be6-98f1-0e4a1f4f2d55"'],
            net_head + picture + net_tail,
        ),
        "Apache HttpClient": request(
            b"1.1",
            [b"Content-Type: multipart/form-data; boundary=Ga1xq2Vd-kz_9kpWm0; charset=UTF-8", HOST],
            apache_head + picture + apache_tail,
        ),
        "a browser": request(
            b"1.1",
            [HOST, b"Content-Type: multipart/form-data; boundary=----WebKitFormBoundaryA7c1WmQ3Zr8yYtUe"],
            web_head + picture + web_tail,
        ),
        "curl --http2": request(b"1.1", [HOST, b"User-Agent: curl/7.88.1", *UPGRADE, PNG], picture),
        "ab and wrk": request(b"1.0", [PNG, b"Host: a", b"Connection: Keep-Alive"], picture),
        "Node's fetch": request(
            b"1.1", [b"host: a", b"connection: keep-alive", b"content-type: application/json", b"sec-fetch-mode: cors"],
            b'{"images":["data:image/png;base64,' + text + b'"]}',
        ),
        "through a proxy": request(b"1.1", [HOST, b"Via: 1.1 a", PNG], picture).replace(
            b"POST /", b"POST http://127.0.0.1:8000/", 1
        ),
        "chunks with extensions and a trailer": request(
            b"1.1", [HOST, PNG, b"Transfer-Encoding: chunked", b"Trailer: X-Sum"],
            chunked(picture, extension=b";a=b")[:-2] + b"X-Sum: 1\r\n\r\n", announced=False,
        ),
    }  # fmt: skip


CLIENTS = list(written(b""))


@pytest.mark.parametrize("name", CLIENTS)
def test_requests_of_clients_in_their_own_bytes(
    connection: socket.socket, example: bytes, expected: Any, name: str
) -> None:
    """The picture is answered, and so is the next request on the connection, which must begin after the body."""
    connection.sendall(written(example)[name] + LIVE + b"\r\n")
    status, headers, body = receive(connection)
    assert status == 200, body
    assert b"upgrade" not in headers
    assert orjson.loads(body)["predictions"] == expected
    if b"HTTP/1.0" not in written(example)[name]:
        assert receive(connection)[::2] == (200, b'{"status":"alive"}')


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_that_sends_no_more_is_answered(
    connection: socket.socket, example: bytes, expected: Any, name: str
) -> None:
    """The end of what is sent is no hang-up: half of a connection is closed."""
    connection.sendall(written(example)[name])
    connection.shutdown(socket.SHUT_WR)
    status, _, body = receive(connection)
    assert status == 200, body
    assert orjson.loads(body)["predictions"] == expected
    assert connection.recv(1) == b""


def test_expectations_are_met_before_the_body_is_sent(connection: socket.socket, example: bytes, expected: Any) -> None:
    whole = request(b"1.1", [HOST, PNG, b"Expect: 100-continue"], example)
    connection.sendall(whole[: -len(example)])
    assert receive(connection)[0] == 100
    connection.sendall(example)
    status, _, body = receive(connection)
    assert (status, orjson.loads(body)["predictions"]) == (200, expected)


def test_a_body_that_is_refused_is_not_asked_for(connection: socket.socket) -> None:
    """Its connection ends, since what its client does next is not known (RFC 9110, section 10.1.1)."""
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Type: image/png\r\n"
        b"Content-Length: 999999999\r\n\r\n"
    )
    status, headers, _ = receive(connection)
    assert (status, headers[b"connection"].lower()) == (413, b"close")
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""


@pytest.mark.parametrize("path", [b"/livez", b"/readyz", b"/models", b"/metrics", b"/", b"/v2/health/live", b"/v2"])
def test_the_head_of_what_can_be_got(connection: socket.socket, path: bytes) -> None:
    """As GET, with the length of a body that is not sent."""
    connection.sendall(b"HEAD " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n" + LIVE + b"\r\n")
    status, headers, _ = receive(connection, head_only=True)
    assert status == 200
    assert int(headers[b"content-length"]) > 0
    assert receive(connection)[::2] == (200, b'{"status":"alive"}')


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_bodies_of_requests_that_have_none_are_bounded(connection: socket.socket, method: bytes) -> None:
    """They are passed over, and what follows is another request, or the connection ends."""
    connection.sendall(method + b" /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + LIVE + b"\r\n")
    status, headers, _ = receive(connection, head_only=method == b"HEAD")
    assert status == 200
    if headers.get(b"connection", b"").lower() != b"close":
        assert receive(connection)[0] == 200
