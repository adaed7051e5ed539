"""Outputs of the Open Inference Protocol: in JSON, in binary and mixed, and the draws."""

from __future__ import annotations

import json

import numpy as np
from fastapi.testclient import TestClient

from service.api.v2.schemas import HEADER
from tests.support.open_inference import INFER, arrays, in_binary, infer, tensor


def test_binary_equals_json(client: TestClient) -> None:
    """Inputs either way, outputs either way or mixed; the document's length is that of its bytes."""
    expected = arrays(infer(client))
    assert arrays(client.post(INFER, **in_binary()).json())["std"].tolist() == expected["std"].tolist()
    outputs = [{"name": "std", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    document = {"inputs": [tensor()], "outputs": outputs, "parameters": {"binary_data_output": True}}
    response = client.post(INFER, json=document)
    length = int(response.headers[HEADER])
    assert response.headers["content-type"] == "application/octet-stream"
    std, probabilities = json.loads(response.content[:length])["outputs"]
    assert np.reshape(std["data"], std["shape"]).tolist() == expected["std"].tolist()
    assert probabilities["parameters"] == {"binary_data_size": 2 * 10 * 8}
    values = np.frombuffer(response.content[length:], "<f8").reshape(probabilities["shape"])
    assert values.tolist() == expected["probabilities"].tolist()


def test_draws(client: TestClient) -> None:
    """The probabilities are their mean, and std their standard deviation."""
    names = ["draws", "probabilities", "std"]
    answer = infer(client, outputs=[{"name": name} for name in names], parameters={"samples": 12, "level": "dense"})
    assert answer["parameters"]["level"] == "dense"
    assert answer["parameters"]["draws"] == [12, 12]
    found = arrays(answer)
    assert list(found) == names
    assert found["draws"].shape == (2, 12, 10)
    np.testing.assert_allclose(found["draws"].sum(2), 1, atol=1e-6)
    np.testing.assert_allclose(found["draws"].mean(1), found["probabilities"], atol=1e-6)
    np.testing.assert_allclose(found["draws"].std(1, ddof=1), found["std"], atol=1e-6)
