"""Parameters of predictions: numbers as most languages write them, and nothing else that Python would read."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.errors import ParameterError
from service.pipeline.parameters import PredictQuery, parse_samples
from tests.support.http import PNG, refusal
from tests.support.open_inference import INFER, refused, tensor

NOT_PLAIN = [
    "+5",
    " 5",
    "5 ",
    "\u0665",
    "\uff15",
    "\u00b2",
    "5_0",
    "0x5",
    "5L",
    "",
    "-",
    "five",
    "nan",
    "inf",
    "1" * 400,
    "5\0",
]


@pytest.mark.parametrize("text", NOT_PLAIN)
@pytest.mark.parametrize("name", ["samples", "deadline_ms", "min_accuracy", "max_latency_ms", "alpha", "top_k"])
def test_only_plain_numbers_are_numbers(client: TestClient, example: bytes, name: str, text: str) -> None:
    """In the query string and in a document: no signs, spaces, separators, digits of other scripts, or names."""
    detail = refusal(client.post("/predict", params={name: text}, content=example, headers=PNG), 422)
    assert name in detail
    if name not in ("alpha", "top_k"):
        assert name in refused(client.post(INFER, json={"inputs": [tensor()], "parameters": {name: text}}), 422)


@pytest.mark.parametrize("name", ["samples", "deadline_ms", "min_accuracy", "max_latency_ms"])
@pytest.mark.parametrize("value", [True, [1], {}, -1, 10**400, 1e308])
def test_other_json_is_no_number(client: TestClient, name: str, value: object) -> None:
    response = client.post(INFER, json={"inputs": [tensor()], "parameters": {name: value}})
    if (name, value) == ("max_latency_ms", 1e308):
        assert response.status_code == 200
    else:
        # An integer that no double holds is no JSON that clients agree about (RFC 8259, section 6).
        refused(response, 400 if value == 10**400 else 422)


@pytest.mark.parametrize("text", ["5", "0.5", ".5", "5e-1", "5E-1", "1e-01", "0000000000.50"])
def test_numbers_as_languages_write_them(text: str) -> None:
    assert PredictQuery.model_validate({"deadline_ms": text}).deadline_ms == float(text)


@pytest.mark.parametrize("text", ["5.5", "1e2", "1001"])
def test_whole_numbers(text: str) -> None:
    with pytest.raises(ValidationError):
        PredictQuery.model_validate({"top_k": text})


@pytest.mark.parametrize("text", [*NOT_PLAIN, "0", "257", "-1", "5.0"])
def test_samples(text: str) -> None:
    assert parse_samples("256", 256) == 256
    with pytest.raises(ParameterError, match="samples must be a whole number from 1 to 256"):
        parse_samples(text, 256)
