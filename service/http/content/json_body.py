"""Parse JSON documents of clients: bounded before anything is built, without duplicate keys."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from service.errors import MalformedError, TooLargeError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some clients write one, and RFC 8259 lets it be passed over
# Small documents may have any text; a single character beyond Latin-1 in a text makes it up to four times as large.
MAX_WIDE_BYTES = 2**20
WIDE_ESCAPE = re.compile(rb"\\u(?!00)")
# Bounds of the document of an administrative request.
MAX_SMALL_BYTES, MAX_SMALL_VALUES = 64 * 2**10, 256


def parse_small_json(text: bytes) -> Any:
    """Parse the document of an administrative request, where no body stands for an empty object; see `parse_json`."""
    return parse_json(text or b"{}", MAX_SMALL_VALUES, f"{MAX_SMALL_VALUES} values")


def parse_json(text: bytes, max_values: int, limit: str, what: str = "the body") -> Any:
    """Parse a document of at most about `max_values` values, said to be `limit` in the message that refuses more.

    Raises TooLargeError before anything is built, and MalformedError for what is not JSON, has a key twice, or has
    numbers or characters that JSON has not.
    """
    _check_size(text, max_values, limit)
    try:
        document = orjson.loads(text.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"{what} is not valid JSON: {error.msg}") from error
    if text.count(b":") != _expected_colons(document):
        _check_keys(text)
    return document


def _check_size(text: bytes, max_values: int, limit: str) -> None:
    """Count what separates and what opens values: a parser would build some 60 bytes for each."""
    nested = text.count(b"[") + text.count(b"{")
    if text.count(b",") > max_values or nested > 2 * max_values:
        raise TooLargeError(f"the request has far too many values: at most {limit} are allowed")
    if len(text) > MAX_WIDE_BYTES and (not text.isascii() or WIDE_ESCAPE.search(text)):
        raise MalformedError(f"a document of more than {MAX_WIDE_BYTES:,} bytes has characters that are not Latin")


def _expected_colons(document: Any) -> int:
    """Count the colons of a document whose keys are all different; a list of numbers has none."""
    colons, left = 0, [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            colons += len(value) + sum(key.count(":") for key in value)
            left.extend(value.values())
        elif isinstance(value, list):
            if value and not isinstance(value[0], int | float):
                left.extend(value)
        elif isinstance(value, str):
            colons += value.count(":")
    return colons


def _check_keys(text: bytes) -> None:
    """Parse a document again, slowly, to find a key that is there twice: the last would silently replace the first."""
    try:
        json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise MalformedError("the body is not valid JSON: it is nested too deeply, or has too long a number") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"the body has the key {twice[:80]!r} more than once")
    return found
