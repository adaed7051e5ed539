"""Heads: what is a request, how long its body is, and what is refused with which status."""

from __future__ import annotations

import math

import pytest

from service.http.connection.request_head import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MessageError,
    check_head,
    check_trailers,
    origin_form,
)

HOST = (b"host", b"example.org")


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a",
        b"example.org:8000",
        b"127.0.0.1:80",
        b"[::1]:8000",
        b"[2001:db8::1]",
        b"a_b-c.test",
        b"a:",
        b"%41.org",
    ],
)
def test_hosts(host: bytes) -> None:
    assert check_head("1.1", b"/", [(b"host", host)]).body_bytes == 0


@pytest.mark.parametrize(
    "host", [b"a b", b"a/b", b"user@a", b"a:80:80", b"a:port", b"[::1", b"::1", b"a,b", b"\xe9", b'"a"', b"a\\b", b"%4"]
)
def test_values_that_are_no_hosts(host: bytes) -> None:
    with pytest.raises(MessageError, match="host and port") as raised:
        check_head("1.1", b"/", [(b"host", host)])
    assert raised.value.status == 400


def test_host_exactly_once() -> None:
    """In HTTP/1.1; in 1.0 it may be missing."""
    assert check_head("1.0", b"/", []).body_bytes == 0
    for version, fields in (("1.1", []), ("1.1", [HOST, HOST]), ("1.0", [HOST, HOST])):
        with pytest.raises(MessageError, match="exactly one Host") as raised:
            check_head(version, b"/", fields)
        assert raised.value.status == 400


def test_announced_bodies() -> None:
    assert check_head("1.1", b"/", [HOST, (b"content-length", b"12")]).body_bytes == 12
    assert check_head("1.1", b"/", [HOST, (b"transfer-encoding", b" Chunked ")]).body_bytes == math.inf


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"xchunked", b"chunked, chunked", b""])
def test_transfer_codings_but_chunked_are_not_implemented(coding: bytes) -> None:
    with pytest.raises(MessageError, match="expected chunked") as raised:
        check_head("1.1", b"/", [HOST, (b"transfer-encoding", coding)])
    assert raised.value.status == 501


def test_http_1_0_has_no_transfer_coding() -> None:
    with pytest.raises(MessageError, match="expected Content-Length") as raised:
        check_head("1.0", b"/", [HOST, (b"transfer-encoding", b"chunked")])
    assert raised.value.status == 400


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_other_versions(version: str) -> None:
    with pytest.raises(MessageError) as raised:
        check_head(version, b"/", [HOST])
    assert raised.value.status == 505


def test_size_of_a_head() -> None:
    """Exactly the limit is allowed, of bytes and of fields, in head and trailers together."""
    room = MAX_HEAD_BYTES - check_head("1.1", b"/", [HOST, (b"a", b"")]).num_bytes
    for length, fields in ((room, 0), (0, MAX_FIELDS - 2)):
        head = [HOST, (b"a", b"a" * length), *[(b"", b"")] * fields]
        found = check_head("1.1", b"/", head)
        check_trailers(found, len(head), [])
        with pytest.raises(MessageError, match="65,536 bytes or 128 fields") as raised:
            check_head("1.1", b"/", [*head, (b"", b"")])
        assert raised.value.status == 431
        with pytest.raises(MessageError, match="65,536 bytes or 128 fields") as raised:
            check_trailers(found, len(head), [(b"", b"")])
        assert raised.value.status == 400


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/a?b", (b"/a?b", None)),
        (b"OPTIONS", b"*", (b"/", None)),
        (b"GET", b"http://a.test:80/b?c", (b"/b?c", b"a.test:80")),
        (b"GET", b"HTTPS://a.test", (b"/", b"a.test")),
        (b"GET", b"http://a.test?c", (b"/?c", b"a.test")),
    ],
)
def test_targets(method: bytes, target: bytes, expected: tuple[bytes, bytes | None]) -> None:
    assert origin_form(method, target) == expected


@pytest.mark.parametrize("target", [b"*", b"a.test:80", b"ftp://a/", b"http:///a", b"http://u:p@a/", b"livez", b"?a"])
def test_targets_that_are_none(target: bytes) -> None:
    with pytest.raises(MessageError) as raised:
        origin_form(b"GET", target)
    assert raised.value.status == 400
