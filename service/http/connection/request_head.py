"""Check the head of a request (RFC 9112): its size, target, Host, and how its body is delimited."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

# Bounds of a request line and fields together, of trailers too, and of the target alone.
MAX_HEAD_BYTES, MAX_FIELDS, MAX_TARGET_BYTES = 64 * 2**10, 128, 8192
HEAD_LIMIT = f"{MAX_HEAD_BYTES:,} bytes or {MAX_FIELDS} fields"
# Colon, space, and the end of the line.
FIELD_OVERHEAD_BYTES = 4
# RFC 3986, section 3.2: a name, address or IPv6 address, and a port; no comma, with which a proxy joins two fields.
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?")
ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)

Fields = Sequence[tuple[bytes, bytes]]


class MessageError(Exception):
    """Bytes that are no request that can be answered: the response's status, and what was expected."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestHead(NamedTuple):
    """Sizes of a head, as if written without spare spaces, and of the body that it announces."""

    num_bytes: int
    # Infinity if chunked.
    body_bytes: float


def check_head(version: str, target: bytes, fields: Fields) -> RequestHead:
    """Return the sizes of a valid head; `fields` have lower-case names. Raises MessageError."""
    if version not in ("1.1", "1.0"):
        raise MessageError(505, "expected HTTP/1.1")
    names, values = zip(*fields, strict=True) if fields else ((), ())
    size, hosts = _size(target, names, values), names.count(b"host")
    if size > MAX_HEAD_BYTES or len(fields) > MAX_FIELDS:
        raise MessageError(431, f"the request line and headers are over the limit of {HEAD_LIMIT}")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MessageError(400, f"expected exactly one Host header, got {hosts}")
    if hosts:
        _check_host(values[names.index(b"host")])
    return RequestHead(size, _body_bytes(version, names, values))


def _size(target: bytes, names: Sequence[bytes], values: Sequence[bytes]) -> int:
    return len(target) + sum(map(len, names)) + sum(map(len, values)) + FIELD_OVERHEAD_BYTES * len(names)


def _body_bytes(version: str, names: Sequence[bytes], values: Sequence[bytes]) -> float:
    """Return the size of the announced body; the parser has refused a second Content-Length, and both fields."""
    if b"transfer-encoding" in names:
        return _check_coding(version, values[names.index(b"transfer-encoding")])
    return int(values[names.index(b"content-length")]) if b"content-length" in names else 0


def check_trailers(head: RequestHead, num_fields: int, trailers: Fields) -> None:
    """Count trailers like fields of the head before them; raise MessageError."""
    size = head.num_bytes + _size(b"", *zip(*trailers, strict=True)) if trailers else 0
    if size > MAX_HEAD_BYTES or num_fields + len(trailers) > MAX_FIELDS:
        raise MessageError(400, f"the headers and trailers are over the limit of {HEAD_LIMIT}")


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return a target as path and query, and its host if it has one, which replaces Host (RFC 9112, section 3.2.2).

    Raises MessageError.
    """
    if target.startswith(b"/"):
        return target, None
    if target == b"*" and method == b"OPTIONS":  # asks about the server: its root stands for it
        return b"/", None
    absolute = ABSOLUTE_FORM.match(target)
    if absolute is None:
        raise MessageError(400, "the request target is neither a path nor an http URL: expected one such as /predict")
    _check_host(absolute[1])
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest, absolute[1]


def _check_host(value: bytes) -> None:
    if HOST.fullmatch(value) is None:
        raise MessageError(400, "the Host header is not a host and port: expected one such as example.org:8000")


def _check_coding(version: str, value: bytes) -> float:
    """Return infinity; raise MessageError for every coding but `chunked` (RFC 9112, section 6.1)."""
    if version == "1.0":
        raise MessageError(400, "HTTP/1.0 has no Transfer-Encoding: expected Content-Length")
    if value.strip().lower() != b"chunked":
        raise MessageError(501, "this Transfer-Encoding is not read here: expected chunked")
    return math.inf
