"""Check the head of a request (RFC 9112): its size, target, Host, and how its body is delimited."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# Bounds of a request line and fields together, of trailers too, and of the target alone.
MAX_HEAD_BYTES, MAX_FIELDS, MAX_TARGET_BYTES = 64 * 2**10, 128, 8192
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


def head_bytes(target: bytes, fields: Fields) -> int:
    """Return the size of a head, as if written without spare spaces."""
    return len(target) + sum(len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields)


def check_head(version: str, target: bytes, fields: Fields) -> float:
    """Return how many bytes of body are announced, infinity if chunked.

    `fields` have lower-case names. Raises MessageError for a head that is not valid.
    """
    if version not in ("1.1", "1.0"):
        raise MessageError(505, "expected HTTP/1.1")
    if head_bytes(target, fields) > MAX_HEAD_BYTES:
        raise MessageError(431, f"the request line and headers are over the limit of {MAX_HEAD_BYTES:,} bytes")
    hosts, announced = 0, 0.0
    for name, value in fields:
        if name == b"host":
            hosts += 1
            _check_host(value)
        elif name == b"content-length":
            announced = int(value)
        elif name == b"transfer-encoding":
            announced = _check_coding(version, value)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MessageError(400, f"expected exactly one Host header, got {hosts}")
    return announced


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
    if HOST.fullmatch(value.strip()) is None:
        raise MessageError(400, "the Host header is not a host and port: expected one such as example.org:8000")


def _check_coding(version: str, value: bytes) -> float:
    """Return infinity; raise MessageError for every coding but `chunked` (RFC 9112, section 6.1)."""
    if version == "1.0":
        raise MessageError(400, "HTTP/1.0 has no Transfer-Encoding: expected Content-Length")
    if value.strip().lower() != b"chunked":
        raise MessageError(501, "this Transfer-Encoding is not read here: expected chunked")
    return math.inf
