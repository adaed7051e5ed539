"""Query strings: every parameter once, with a value, where it belongs."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from service.api.query import parse_query
from service.errors import ParameterError
from tests.support.http import PNG, refusal
from tests.support.open_inference import INFER, refused, tensor

REPEATED = ["samples=3&samples=2", "samples=3&samples=3", "level=p50&samples=3&%6cevel=dense", "level=&level=p50"]
EMPTY = ["samples=", "samples", "level=", "model=", "version=&samples=3", "draws="]


@pytest.mark.parametrize("query", REPEATED + EMPTY)
def test_every_parameter_is_given_once_and_with_a_value(client: TestClient, example: bytes, query: str) -> None:
    """Of two values one would be passed over, and an empty one is not what its sender wanted."""
    detail = refusal(client.post(f"/predict?{query}", content=example, headers=PNG), 422)
    assert "is given more than once" in detail or "is empty: leave it out" in detail


@pytest.mark.parametrize("query", ["sort=bytes&sort=accuracy", "model=digits&model=digits", "model=", "sort="])
def test_so_of_listings(client: TestClient, query: str) -> None:
    detail = refusal(client.get(f"/models?{query}"), 422)
    assert "is given more than once" in detail or "is empty: leave it out" in detail


@pytest.mark.parametrize("query", ["sampels=3", "SAMPLES=3", "samples%00=3", "samples[]=3", "n=3", "%ff=3", "a" * 5000])
def test_unknown_parameters_are_refused(client: TestClient, example: bytes, query: str) -> None:
    refusal(client.post(f"/predict?{query}", content=example, headers=PNG), 422)


@pytest.mark.parametrize("name", ["samples", "level", "alpha", "draws"])
def test_parameters_that_belong_in_a_document_are_not_passed_over(client: TestClient, name: str) -> None:
    """A query string of Open Inference is for gateways, but not with our parameters."""
    says = refused(client.post(f"{INFER}?{name}=4", json={"inputs": [tensor()]}), 422)
    assert says == f"parameter {name!r} is in the query string: it belongs in the document"
    assert client.post(f"{INFER}?gateway=4", json={"inputs": [tensor()]}).status_code == 200


def test_long_queries_are_parsed_alike() -> None:
    """Whether they are cached or not."""
    padding = "&level=" + "a" * 300
    assert parse_query(b"samples=3").samples == parse_query(f"samples=3{padding}".encode()).samples == "3"
    with pytest.raises(ParameterError, match="more than once"):
        parse_query(f"samples=3&samples=4{padding}".encode())
