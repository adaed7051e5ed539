"""HTTP as its specifications say, on real sockets: what strangers' clients and proxies send is answered, and ends."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.api.routes.ui import ROOT
from service.http.connection.protocol import PROBE_AFTER_S
from service.inference.engine import Engine
from service.settings import Settings
from tests.support.http import PNG, metric
from tests.support.services import PATIENT_MS, wait_until
from tests.support.sockets import connection, exchange, read_to_end, served, statuses
from tests.support.waiting import HANG_S

PICTURE = (ROOT / "examples" / "boat.png").read_bytes()
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(PICTURE)
LIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
LAST = LIVE + b"Connection: close\r\n\r\n"
UPGRADES = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    b"Connection: upgrade\r\nUpgrade: TLS/1.3\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: h2c\r\n",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of one service for all tests here."""
    with served("zoo", max_wait_ms=PATIENT_MS) as url:
        yield url


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_upgrade_is_ignored_and_its_body_is_read(url: str, upgrade: bytes) -> None:
    """Java's client offers h2c with each request; the next one on the connection is answered too."""
    head = HEAD + upgrade + LENGTH + b"\r\n"
    for parts in ([head + PICTURE + LAST], [head, PICTURE[:100], PICTURE[100:] + LAST]):
        said = exchange(url, *parts)
        assert statuses(said) == [200, 200]
        assert b'"predictions"' in said
    chunked = HEAD + upgrade + b"Transfer-Encoding: chunked\r\n\r\n"
    said = exchange(url, chunked, b"%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE), LAST)
    assert statuses(said) == [200, 200]


def test_a_body_is_never_another_request(url: str) -> None:
    """Though it looks like one, after an Upgrade and in a packet of its own."""
    inner = b"GET /models HTTP/1.1\r\nHost: a\r\nX-Request-ID: SMUGGLED\r\n\r\n"
    head = HEAD + b"Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: %d\r\n\r\n" % len(inner)
    said = exchange(url, head, inner, LAST)
    assert statuses(said) == [415, 200]
    assert b"SMUGGLED" not in said


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (LIVE + b"Host: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (LIVE + b"A: b\r\n c\r\n\r\n", 400),
        (LIVE + b"A: b\rc\r\n\r\n", 400),
        (LIVE + b"A: b\nB: c\r\n\r\n", 400),
        (LIVE + b"A: b\0c\r\n\r\n", 400),
        (LIVE + b"A : b\r\n\r\n", 400),
        (LIVE + b" A: b\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /livez\r\n\r\n", 505),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
    ],
)
def test_heads_that_are_not_valid_are_refused_and_closed(url: str, request_: bytes, status: int) -> None:
    """Nothing after them is taken for a request."""
    said = exchange(url, request_ + LAST)
    assert statuses(said) == [status]
    assert re.search(rb"(?i)^connection: close\r$", said, re.MULTILINE)


@pytest.mark.parametrize("request_", [b"GET /livez HTTP/1.0\r\n\r\n", b"GET http://b/livez HTTP/1.1\r\nHost: a\r\n"])
def test_old_clients_and_proxies_are_answered(url: str, request_: bytes) -> None:
    """HTTP/1.0 without Host, and whole URLs as targets."""
    request_ = request_ if request_.endswith(b"\r\n\r\n") else request_ + b"Connection: close\r\n\r\n"
    assert statuses(exchange(url, request_)) == [200]


def test_a_target_that_names_a_host_is_for_that_host() -> None:
    """It replaces the field Host, and so cannot get past the names that are trusted."""
    with served("zoo", trusted_hosts="a") as url:
        assert statuses(exchange(url, b"GET /models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [200]
        for target, host, status in ((b"http://b/models", b"a", 421), (b"http://a/models", b"b", 200)):
            request = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host)
            assert statuses(exchange(url, request)) == [status]


def paths(url: str) -> list[str]:
    """A path of every GET route, by the service's own description and what that leaves out."""
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    (model,) = httpx.get(f"{url}/models").json()["models"][:1]
    names = {"{model}": model["name"], "{version}": model["versions"][0]["version"]}
    found = [path for path, methods in described.items() if "get" in methods]
    for name, value in names.items():
        found = [path.replace(name, value) for path in found]
    return [*found, "/", "/page/app.js", "/page/none", "/docs", "/docs/", "/docs/start.js", "/openapi.json", "/none"]


def test_head_is_get_without_content_on_every_route(url: str) -> None:
    varying = {"date", "x-request-id", "content-length"}
    found = paths(url)
    assert len(found) > 15
    for path in found:
        with httpx.Client(base_url=url) as client:
            get, head = client.get(path), client.head(path)
            assert client.get("/livez").status_code == 200, "the connection is in step"
        assert head.status_code == get.status_code, path
        assert head.content == b""
        for name in get.headers.keys() | head.headers.keys():
            assert name in varying or head.headers.get(name) == get.headers.get(name), (path, name)
        assert ("content-length" in head.headers) == ("content-length" in get.headers)
        if path not in ("/metrics", "/status", "/none", "/page/none"):
            assert head.headers.get("content-length") == get.headers.get("content-length"), path
    text = httpx.get(f"{url}/metrics").text
    assert metric(text, "slimbayes_requests_total", method="HEAD", route="/livez", status="200") >= 1


def test_other_methods_are_told_which_there_are(url: str) -> None:
    """With 405, and with OPTIONS, which needs no key."""
    for path, methods in (
        ("/predict", {"OPTIONS", "POST"}),
        ("/models", {"GET", "HEAD", "OPTIONS"}),
        ("/docs/", {"GET", "HEAD", "OPTIONS"}),
        ("/page/app.js", {"GET", "HEAD", "OPTIONS"}),
        ("/v2/models/a/infer", {"OPTIONS", "POST"}),
    ):
        for method, status in (("DELETE", 405), ("OPTIONS", 204)):
            response = httpx.request(method, f"{url}{path}")
            assert response.status_code == status
            assert set(response.headers["allow"].split(", ")) == methods
    head = httpx.head(f"{url}/predict")
    assert (head.status_code, head.content) == (405, b"")
    assert httpx.options(f"{url}/none").status_code == 404
    assert statuses(exchange(url, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == [204]


@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\n"])
def test_half_closed_clients_are_answered(url: str, fields: bytes) -> None:
    """Whoever says that nothing more comes waits for the answer; several requests get all of theirs."""
    request = HEAD + fields + LENGTH + b"\r\n" + PICTURE
    said = exchange(url, request, half_close=True)
    assert statuses(said)[-1] == 200
    assert b'"predictions"' in said
    many = HEAD + LENGTH + b"\r\n" + PICTURE
    said = exchange(url, (LIVE + b"\r\n") * 500 + many + request, half_close=True)
    assert [status for status in statuses(said) if status != 100] == [200] * 502


def test_a_half_closed_client_with_a_long_request_is_answered(url: str) -> None:
    """What is written to find out whether it is there is an interim response, which HTTP allows."""
    body = form(32)
    head = HEAD.replace(b"/predict", b"/predict?samples=64").replace(b"image/png", FORM)
    said = exchange(url, head + b"Content-Length: %d\r\n\r\n" % len(body) + body, half_close=True)
    assert statuses(said)[-1] == 200
    assert set(statuses(said)[:-1]) <= {100}
    assert len(orjson.loads(said.rpartition(b"\r\n\r\n")[2])["predictions"]) == 32


def test_a_cut_request_of_a_half_closed_client_is_refused(url: str) -> None:
    """In its head and in its body; requests before it are answered."""
    for cut in (LIVE, HEAD + LENGTH + b"\r\n" + PICTURE[:10], HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"):
        assert statuses(exchange(url, cut, half_close=True)) == [400]
        assert statuses(exchange(url, LIVE + b"\r\n" + cut, half_close=True)) == [200, 400]
    assert exchange(url, half_close=True) == b""


@pytest.mark.parametrize("reset", [False, True])
def test_clients_that_are_gone_are_noticed_and_their_work_is_given_up(
    url: str, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they close or reset: what they wait for is taken out of the queue."""
    run = Engine.run

    def slowly(*given: Any) -> Any:  # on any machine the clients leave before their answers
        time.sleep(0.05)
        return run(*given)

    monkeypatch.setattr(Engine, "run", slowly)

    def abandoned() -> float:
        text = httpx.get(f"{url}/metrics").text
        return metric(text, "slimbayes_requests_total", outcome="abandoned")

    before, body = abandoned() if "abandoned" in httpx.get(f"{url}/metrics").text else 0.0, form(32)
    head = HEAD.replace(b"/predict", b"/predict?samples=256").replace(b"image/png", FORM)
    for _ in range(4):
        with connection(url) as opened:
            opened.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.2)
            if reset:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: abandoned() >= before + 4)
    wait_until(lambda: metric(httpx.get(f"{url}/metrics").text, "slimbayes_queue_draws") == 0)
    assert abandoned() == before + 4


FORM = b"multipart/form-data; boundary=b"


def form(images: int) -> bytes:
    """So many images as a form."""
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + PICTURE + b"\r\n"
    return part * images + b"--b--\r\n"


@pytest.mark.parametrize("path", [b"/predict", b"/v2/models/cifar10-resnet20/infer", b"/none", b"/livez"])
def test_an_answer_that_leaves_a_body_unread_ends_the_connection(url: str, path: bytes) -> None:
    """A client that was told to go on, or not to, knows where it is: it hears `close`, and the end."""
    head = HEAD.replace(b"/predict", path) + b"Content-Length: 999999999\r\n"
    for expect in (b"", b"Expect: 100-continue\r\n"):
        said = exchange(url, head + expect + b"\r\n", LIVE + b"\r\n", half_close=False)
        assert len(statuses(said)) == 1
        assert re.search(rb"(?i)^connection: close\r$", said, re.MULTILINE)


def test_expect_100_continue_is_obeyed(url: str) -> None:
    """Who asks is told to go on, and answered; who is refused is not told to."""
    with connection(url) as opened:
        opened.sendall(HEAD + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n")
        assert opened.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        opened.sendall(PICTURE + LAST)
        assert statuses(read_to_end(opened)) == [200, 200]
    assert 100 not in statuses(exchange(url, HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"))


def test_a_refusal_of_a_small_body_keeps_the_connection(url: str) -> None:
    """The rest of it is dropped, though it comes after the answer."""
    with connection(url) as opened:
        opened.sendall(HEAD.replace(b"/predict", b"/none") + LENGTH + b"\r\n")
        assert statuses(opened.recv(65536)) == [404]
        opened.sendall(PICTURE + LAST)
        assert statuses(read_to_end(opened)) == [200]


def test_idle_connections_are_kept_as_long_as_the_setting_says() -> None:
    """By default longer than balancers keep theirs: Google's 600 s are the longest of the usual ones."""
    assert Settings(store="zoo").keep_alive_seconds > 600
    with served("zoo", keep_alive_seconds=1) as url, connection(url) as opened:
        opened.sendall(LIVE + b"\r\n")
        begun = time.monotonic()
        assert statuses(read_to_end(opened)) == [200]
        assert time.monotonic() - begun > 0.9
    with served("zoo", keep_alive_seconds=HANG_S) as url, connection(url) as opened:
        opened.sendall(LIVE + b"\r\n")
        assert statuses(opened.recv(65536)) == [200]
        opened.settimeout(2.0)
        with pytest.raises(TimeoutError):
            opened.recv(1)


def test_bad_bodies_count_against_the_rate(tmp_path: Path) -> None:
    """Reading and decoding them is work: a client cannot have it done for nothing."""
    with served("zoo", rate_limit="3/hour") as url, httpx.Client(base_url=url) as client:
        bodies = (b"no picture", PICTURE[:50], PICTURE)
        found = [client.post("/predict", content=body, headers=PNG).status_code for body in bodies]
        assert found == [415, 422, 200]
        for body in bodies:
            assert client.post("/predict", content=body, headers=PNG).status_code == 429
    with served("zoo", rate_limit="2/hour") as url, httpx.Client(base_url=url) as client:
        path = "/v2/models/cifar10-resnet20/infer"
        assert [client.post(path, content=b"{").status_code for _ in range(3)] == [400, 400, 429]
    with served("zoo", rate_limit="2/hour") as url, httpx.Client(base_url=url) as client:
        for _ in range(4):
            assert client.post("/predict?model=none", content=PICTURE, headers=PNG).status_code == 404
        assert client.post("/predict", content=PICTURE, headers=PNG).status_code == 200


def test_probing_is_later_than_most_answers() -> None:
    """Clients that know nothing of interim responses should meet none."""
    assert PROBE_AFTER_S >= 0.5
