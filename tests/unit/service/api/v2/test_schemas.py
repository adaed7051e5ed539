"""Requests of the Open Inference Protocol: what of a document, or of its place in the body, is refused, and how."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.v2.schemas import HEADER
from tests.support.open_inference import INFER, in_binary, infer, refused, tensor


@pytest.mark.parametrize(
    ("document", "status", "says"),
    [
        ({}, 400, "inputs"),
        ([], 400, "the body: Input should be an object"),
        ({"inputs": [tensor()], "parameters": 5}, 400, "parameters: Input should be an object"),
        ({"inputs": [5]}, 400, "inputs.0: Input should be an object"),
        ({"inputs": []}, 400, "inputs"),
        ({"inputs": [tensor(), tensor()]}, 400, "inputs"),
        ({"inputs": [tensor()], "id": 5}, 400, "id"),
        ({"inputs": [tensor()], "outputs": [{"name": "logits"}]}, 400, "there is probabilities, std, uncertainty"),
        ({"inputs": [tensor()], "outputs": [{"name": "std"}] * 2}, 400, "requested twice"),
        ({"inputs": [tensor()], "outputs": [{"name": "std"}] * 17}, 400, "outputs"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "std", "parameters": {"classification": 3}}]},
            400,
            "classification",
        ),
        ({"inputs": [tensor()], "outputs": [{"name": "draws"}]}, 422, "give samples a number"),
        (
            {
                "inputs": [tensor()],
                "outputs": [{"name": "draws"}],
                "parameters": {"samples": 4, "deadline_ms": 1000},
            },
            422,
            "no deadline_ms",
        ),
    ],
)
def test_bad_documents(client: TestClient, document: Any, status: int, says: str) -> None:
    assert says in refused(client.post(INFER, json=document), status)


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"sampels": 3}, 422, "unknown parameter 'sampels'"),
        ({"model": "cats"}, 422, "unknown parameter 'model'"),
        ({"samples": 0}, 422, "from 1 to 256"),
        ({"samples": 257}, 422, "from 1 to 256"),
        ({"samples": 2.5}, 422, "from 1 to 256"),
        ({"samples": True}, 422, "samples"),
        ({"samples": [4]}, 422, "samples"),
        ({"samples": None}, 422, "samples"),
        ({"level": "p99"}, 404, "dense, p50, p90"),
        ({"deadline_ms": 0}, 422, "deadline_ms"),
        ({"deadline_ms": "nan"}, 422, "deadline_ms"),
        ({"min_accuracy": "nan"}, 422, "min_accuracy"),
        ({"min_accuracy": 0.99999}, 422, "no level has an accuracy"),
        ({"max_latency_ms": "inf", "level": "p50"}, 422, "max_latency_ms: expected a plain number"),
        ({"max_latency_ms": "-inf"}, 422, "max_latency_ms"),
        ({"binary_data_output": "perhaps"}, 422, "binary_data_output"),
        ({"deadline_ms": 1e-3}, 504, "deadline passed"),
    ],
)
def test_bad_parameters(client: TestClient, parameters: dict[str, Any], status: int, says: str) -> None:
    assert says in refused(client.post(INFER, json={"inputs": [tensor()], "parameters": parameters}), status)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_what_json_has_not(client: TestClient, value: bytes) -> None:
    """As some clients write it all the same."""
    document = json.dumps({"inputs": [tensor()]}).encode()
    body = document[:-1] + b', "parameters": {"deadline_ms": ' + value + b"}}"
    assert "not valid JSON" in refused(client.post(INFER, content=body), 400)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 4000, b'{"inputs": "\\ud800"}'])
def test_no_json(client: TestClient, body: bytes) -> None:
    assert "not valid JSON" in refused(client.post(INFER, content=body), 400)


@pytest.mark.parametrize(
    ("length", "says"),
    [
        ("-1", "must be a whole number"),
        ("x", "must be a whole number"),
        ("", "must be a whole number"),
        ("1e3", "must be a whole number"),
        ("\u0663".encode().decode("latin-1"), "must be a whole number"),
        ("9" * 30, "must be a whole number"),
        ("999999", "but the body has"),
        ("0", "not valid JSON"),
        ("20", "not valid JSON"),
    ],
)
def test_wrong_length_of_the_document(client: TestClient, length: str, says: str) -> None:
    request = in_binary()
    request["headers"] = {HEADER: length.encode("latin-1")}
    assert says in refused(client.post(INFER, **request), 400)


def test_binary_without_the_length_of_the_document(client: TestClient) -> None:
    request = in_binary()
    assert "not valid JSON" in refused(client.post(INFER, content=request["content"]), 400)


def test_too_many_values_are_counted_before_they_are_parsed(client: TestClient) -> None:
    body = b'{"inputs": [' + b"0," * 300_000 + b"0]}"
    assert "at most 2,048" in refused(client.post(INFER, content=body), 413)


@given(
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4),
    length=st.none() | st.integers(0, 500),
)
@settings(deadline=None, max_examples=150)
def test_damaged_requests(client: TestClient, damage: list[tuple[int, int, bytes]], length: int | None) -> None:
    """Whatever is cut out or put in, a request is answered or refused."""
    request = in_binary()
    body = bytearray(request["content"])
    for place, size, instead in damage:
        body[place : place + size] = instead
    if length is not None:
        request["headers"][HEADER] = str(length)
    response = client.post(INFER, content=bytes(body), headers=request["headers"])
    if response.status_code != 200:
        assert response.status_code in (400, 413, 415, 422)
        refused(response, response.status_code)


HINTS = [
    {"timeout": 500_000},
    {"priority": 1},
    {"sequence_id": 5, "sequence_start": True, "sequence_end": False},
    {"sequence_id": "five"},
    {"triton_enable_empty_final_response": True},
    {"content_type": "np"},
    {"headers": {"Ce-Id": "1"}},
    {"timeout": "soon", "priority": None, "content_type": [], "headers": 5},
]


@pytest.mark.parametrize("hints", HINTS)
def test_hints_for_other_servers_are_passed_over(client: TestClient, hints: dict[str, Any]) -> None:
    """At the request, its input and its outputs, beside parameters of ours, which are obeyed."""
    plain = infer(client, outputs=[{"name": "std"}], parameters={"samples": 4})
    outputs = [{"name": "std", "parameters": hints}]
    given = tensor(parameters=hints)
    assert infer(client, given, outputs=outputs, parameters={"samples": 4} | hints) == plain


@pytest.mark.parametrize(
    "name", ["sampels", "Samples", "sample", "deadline", "timeouts", "binary_data", "alpha", "top_k"]
)
def test_misspelt_parameters_are_no_hints(client: TestClient, name: str) -> None:
    response = client.post(INFER, json={"inputs": [tensor()], "parameters": {"timeout": 1, name: 4}})
    assert f"unknown parameter '{name}'" in refused(response, 422)


@pytest.mark.parametrize(
    "change",
    [
        {"parameter": {"samples": 4}},
        {"samples": 4},
        {"inputs": [tensor(param={"content_type": "np"})]},
        {"inputs": [tensor(parameters={"binary_size": 5})]},
        {"outputs": [{"name": "std", "parameter": {"binary_data": True}}]},
        {"outputs": [{"name": "std", "parameters": {"binary": True}}]},
    ],
)
def test_misspelt_keys_are_not_passed_over(client: TestClient, change: dict[str, Any]) -> None:
    assert "unknown parameter" in refused(client.post(INFER, json={"inputs": [tensor()]} | change), 400)


def test_the_name_of_the_model_may_be_in_the_document(client: TestClient) -> None:
    """As KServe's client writes it."""
    assert infer(client, model_name="digits", model_version=None) == infer(client)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"classification": 3}, "classification is not supported"),
        ({"shared_memory_region": "a", "shared_memory_byte_size": 64}, "shared memory: send the tensor in the body"),
        ({"shared_memory_offset": 64}, "shared_memory_offset is not supported"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(client: TestClient, parameters: dict[str, Any], says: str) -> None:
    """It would change where tensors are, or what they hold."""
    for change in (
        {"inputs": [tensor(parameters=parameters)]},
        {"outputs": [{"name": "std", "parameters": parameters}]},
        {"parameters": parameters},
    ):
        assert says in refused(client.post(INFER, json={"inputs": [tensor()]} | change), 400)
