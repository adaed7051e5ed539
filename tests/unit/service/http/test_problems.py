"""What nobody foresaw is answered too, and what may be answered is documented."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.inference.engine import Engine
from tests.support.http import PNG, refusal
from tests.support.open_inference import INFER, refused, tensor

# What is no JSON, by the end of its path.
OTHER = {"metrics": "text/plain", "card": "text/markdown"}


def test_unforeseen_errors(client: TestClient, example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 500 with the id that is in the log, and nothing of what went wrong inside."""

    def fail(*arguments: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Engine, "run", fail)
    response = client.post("/predict", content=example, headers=PNG | {"x-request-id": "lost"})
    assert "secret" not in refusal(response, 500)
    assert response.json()["request_id"] == "lost"
    response = client.post(INFER, json={"inputs": [tensor()]}, headers={"x-request-id": "lost"})
    assert "secret" not in refused(response, 500)
    assert response.headers["x-request-id"] == "lost"


def test_every_reference_of_the_document_resolves(client: TestClient) -> None:
    """A client generator finds every schema, and as refusals only problem documents, or those of the protocol."""
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text))
    assert "Problem" in references
    assert references <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in text
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                refused = int(status) >= 400 and path != "/readyz"
                own = refused and not path.startswith("/v2")
                usual = OTHER.get(path.rsplit("/", 1)[-1], "application/json")
                kinds = ["application/problem+json" if own else usual]
                binary = ["application/octet-stream"] if path.endswith("/infer") and not refused else []
                assert sorted(answer["content"]) == kinds + binary
                if refused and not own:
                    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")
