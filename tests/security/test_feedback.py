"""Labels of hostile clients: bounded bodies, no other client's answers, and no way round the rate limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.http.api_keys import Key
from tests.support.http import PNG, ask, refusal
from tests.support.services import PATIENT_MS, Warm

BAD = {
    "no JSON": (b"{", 400, "not valid JSON"),
    "nothing": (b"", 422, "request_id"),
    "a list": (b"[]", 422, "the body"),
    "a number": (b"1", 422, "the body"),
    "no label": (b'{"request_id": "a"}', 422, "label"),
    "a label that is no text": (b'{"request_id": "a", "label": 4}', 422, "label"),
    "an empty label": (b'{"request_id": "a", "label": ""}', 422, "label"),
    "an image before the first": (b'{"request_id": "a", "image": -1, "label": "4"}', 422, "image"),
    "half an image": (b'{"request_id": "a", "image": 0.5, "label": "4"}', 422, "image"),
    "an image that is true": (b'{"request_id": "a", "image": true, "label": "4"}', 422, "image"),
    "another field": (b'{"request_id": "a", "label": "4", "weight": 9}', 422, "unknown parameter 'weight'"),
    "a field twice": (b'{"request_id": "a", "label": "4", "label": "5"}', 400, "more than once"),
    "a long id": (json.dumps({"request_id": "a" * 300, "label": "4"}).encode(), 422, "request_id"),
    "a long label": (json.dumps({"request_id": "a", "label": "4" * 2_000}).encode(), 422, "label"),
    "many values": (b'{"request_id": "a", "label": [' + b"1," * 2_000 + b"1]}", 413, "values"),
    "a large body": (b" " * 70_000, 413, ""),
    "an image beyond all": (b'{"request_id": "a", "image": 99999999999999999999999, "label": "4"}', 422, "image"),
}


@pytest.fixture(scope="module")
def listening(digits_store: Path) -> Any:
    with Warm(digits_store, feedback=100, max_wait_ms=PATIENT_MS) as client:
        yield client


@pytest.mark.parametrize("name", BAD)
def test_bad_documents(listening: Any, name: str) -> None:
    body, status, says = BAD[name]
    assert says in refusal(listening.post("/feedback", content=body), status)


def test_words_of_clients_are_shown_as_text(listening: Any, example: bytes) -> None:
    """Neither an id nor a label is obeyed by a terminal, and neither fills a log."""
    name = ask(listening, example)["request_id"]
    says = refusal(listening.post("/feedback", json={"request_id": "\x1b[2J\n", "label": "1"}), 404)
    assert "\x1b" not in says
    says = refusal(listening.post("/feedback", json={"request_id": name, "label": "\x1b[2J" * 100}), 422)
    assert "\x1b" not in says
    assert len(says) < 600


def test_labels_are_of_the_client_that_asked(digits_store: Path, example: bytes, tmp_path: Path) -> None:
    """Another key neither labels an answer nor replaces it under its id."""
    keys = {name: Key.make(name, "user") for name in ("ann", "eve")}
    file = tmp_path / "keys"
    file.write_text("\n".join(str(line) for _, line in keys.values()))
    ann, eve = ({"Authorization": f"Bearer {key}"} for key, _ in keys.values())
    with Warm(digits_store, feedback=100, keys_file=file, max_wait_ms=PATIENT_MS) as client:
        name = {"X-Request-ID": "visit-1"}
        assert client.post("/predict", content=example, headers=PNG | ann | name).status_code == 200
        label = {"request_id": "visit-1", "label": "1"}
        refusal(client.post("/feedback", json=label), 401)
        assert "of this client" in refusal(client.post("/feedback", json=label, headers=eve), 404)
        assert client.post("/predict", content=example, headers=PNG | eve | name).status_code == 200
        assert client.post("/feedback", json=label, headers=eve).status_code == 200
        assert client.post("/feedback", json=label, headers=ann).status_code == 200
        refusal(client.post("/feedback", json=label, headers=ann), 409)


def test_a_label_counts_as_an_image_of_the_rate_limit(digits_store: Path, example: bytes) -> None:
    """Whether it is taken or not: ids cannot be guessed in a hurry."""
    with Warm(digits_store, feedback=100, rate_limit="5/hour", max_wait_ms=PATIENT_MS) as client:
        assert ask(client, example)
        for _ in range(4):
            refusal(client.post("/feedback", json={"request_id": "guess", "label": "1"}), 404)
        assert "over the rate limit" in refusal(
            client.post("/feedback", json={"request_id": "guess", "label": "1"}), 429
        )
