"""JSON of clients: bounded before it is built, and never read other than it was meant."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.errors import MalformedError, TooLargeError
from service.http.content.json_body import MAX_SMALL_BYTES, MAX_WIDE_BYTES, parse_json, parse_small_json
from tests.support.http import refusal
from tests.support.open_inference import INFER, refused

MANY = 100_000


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * MANY + b"1]",
        b"[" + b"[]," * MANY + b"[]]",
        b"[" + (nested(b"[", b"]", 500) + b",") * 200 + b"1]",
        b"[" + (nested(b'{"a":', b"}", 500) + b",") * 200 + b"1]",
        b"{" + b",".join(b'"%d":1' % number for number in range(MANY)) + b"}",
        b"[" * MANY,
    ],
    ids=["numbers", "lists", "deep lists", "deep objects", "keys", "never closed"],
)
def test_values_are_counted_before_any_is_built(text: bytes) -> None:
    """What is taken meanwhile stays small, whatever the values are nested in."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="far too many values: at most 256 values"):
            parse_small_json(text)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["\N{CAT FACE}".encode(), b"\\ud83d\\udc31", "\u0436".encode(), b"\\u0436"], ids=str)
def test_wide_characters_do_not_multiply_a_large_document(text: bytes) -> None:
    """One of them makes the text around it two or four times as large."""
    for size, large in ((1000, False), (MAX_WIDE_BYTES, True)):
        document = b'["' + text + b"a" * size + b'"]'
        if large:
            with pytest.raises(MalformedError, match="not Latin"):
                parse_json(document, 10, "")
        else:
            assert parse_json(document, 10, "") == json.loads(document)
    escaped = b'["\\u002b' + b"a" * MAX_WIDE_BYTES + b'"]'
    assert parse_json(escaped, 10, "") == json.loads(escaped)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "b": {"c": [{"d": 1, "d": 2}]}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": "x:y", "a": 2}',
        b'{"a": [1, {"b": 1, "b": 2}]}',
        b'{"a": [1, 2], "a": [1, 2]}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError, match=r"the key '[abd]' more than once"):
        parse_json(text, 100, "")


@pytest.mark.parametrize(
    "document",
    [
        None,
        5,
        "a:b",
        {},
        [[], [[]], {}],
        {"a": {"a": {"a": 1}}, "b:": ["c:d", {"a": ":"}], "e": [1, "f:", {"a": 1}]},
        [{"a": 1}, {"a": 1}],
        {"\N{CAT FACE}": True, "number": 1.5},
    ],
)
def test_any_other_document_is_what_json_says(document: Any) -> None:
    for text in (
        json.dumps(document),
        json.dumps(document, ensure_ascii=False, indent=2),
        f"\ufeff{json.dumps(document)}",
    ):
        assert parse_json(text.encode(), 100, "") == document


@pytest.mark.parametrize(
    "text",
    [b"{", b"NaN", b"[Infinity]", b"[-Infinity]", b"[1e999]", b"[01]", b"[+1]", b"[.5]", b"['a']", b"[1,]", b"//",
     b'["\\ud800"]', b'["\xff"]', b'["\\x"]', b'["\n"]', b'["a" "b"]', "[\uff11]".encode(), b"\xff\xfe[\0", b"[" * 200],
)  # fmt: skip
def test_what_json_has_not(text: bytes) -> None:
    with pytest.raises(MalformedError, match="not valid JSON"):
        parse_json(text, 1000, "")


ADMINISTRATION = "/v2/repository/index"


@pytest.mark.parametrize("body", [b'{"ready": "' + b"a" * MAX_SMALL_BYTES + b'"}', b" " * (MAX_SMALL_BYTES + 1)])
def test_small_routes_have_small_limits(client: TestClient, body: bytes) -> None:
    """As sent and as inflated, though predictions may have far more."""
    says = f"limit of {MAX_SMALL_BYTES:,} bytes"
    headers = {"content-encoding": "gzip"}
    assert says in refused(client.post(ADMINISTRATION, content=body), 413)
    assert says in refused(client.post(ADMINISTRATION, content=iter([body])), 413)
    assert says in refused(client.post(ADMINISTRATION, content=gzip.compress(body), headers=headers), 413)
    assert says not in client.post(INFER, content=body).text


def test_documents_of_small_routes_are_counted(client: TestClient) -> None:
    body = b"[" + b"[]," * 20_000 + b"[]]"
    assert "at most 256 values" in refused(client.post(ADMINISTRATION, content=body), 413)


def test_predictions_are_counted_by_brackets_too(client: TestClient) -> None:
    body = b'{"images": [' + b"[" * 300_000
    headers = {"content-type": "application/json"}
    assert "at most 32 images" in refusal(client.post("/predict", content=body, headers=headers), 413)
    assert "at most 2,048" in refused(client.post(INFER, content=body), 413)
