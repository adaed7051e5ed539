"""Metadata of the server and of models."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.support.open_inference import refused


def test_server(client: TestClient) -> None:
    """Its name, and what it offers beyond the protocol."""
    found = client.get("/v2").json()
    assert found["name"] == "slimbayes"
    assert set(found["extensions"]) == {"binary_tensor_data", "parameters", "model_repository"}


@pytest.mark.parametrize("path", ["/v2/models/cats", "/v2/models/digits/versions/none", "/v2/nothing", "/v2/models"])
def test_unknown_names(client: TestClient, path: str) -> None:
    assert refused(client.get(path), 404)
