"""The schema of answers: its example is one that the service could give."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_example_is_an_answer(client: TestClient) -> None:
    """The example in the document is one that the service could give."""
    from service.api.schemas import Answer

    document = client.get("/openapi.json").json()
    operation = document["paths"]["/predict"]["post"]
    Answer.model_validate(operation["responses"]["200"]["content"]["application/json"]["example"])
    assert set(operation["requestBody"]["content"]) >= {"multipart/form-data", "application/json", "image/png"}
