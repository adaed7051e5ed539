"""Build requests of the Open Inference Protocol for the model `digits`, and read refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from service.api.v2.schemas import HEADER, InferenceResponse

INFER = "/v2/models/digits/infer"
PIXELS = np.random.default_rng(8).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)


def tensor(**changes: Any) -> dict[str, Any]:
    """Two images in JSON, with changes; None leaves a key out."""
    whole = {"name": "images", "shape": [2, 8, 8, 1], "datatype": "UINT8", "data": PIXELS.ravel().tolist()} | changes
    return {key: value for key, value in whole.items() if value is not None}


def refused(response: Any, status: int) -> str:
    """What a refusal says, which must be the protocol's and give nothing away."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert response.headers["x-request-id"]
    for secret in ("Traceback", "/tmp", ".py", "pydantic", "instance of", "numpy", "site-packages"):
        assert secret not in response.text
    return str(response.json()["error"])


def binary(document: dict[str, Any], rest: bytes, length: Any = None) -> dict[str, Any]:
    """Body and headers of a request whose tensor follows its document."""
    text = json.dumps(document).encode()
    return {"content": text + rest, "headers": {HEADER: str(len(text) if length is None else length)}}


def in_binary(**changes: Any) -> dict[str, Any]:
    """Two images after the document, with changes of the tensor."""
    parameters = {"binary_data_size": PIXELS.nbytes}
    return binary({"inputs": [tensor(**{"data": None, "parameters": parameters} | changes)]}, PIXELS.tobytes())


def infer(client: TestClient, input: dict[str, Any] | None = None, **document: Any) -> dict[str, Any]:
    """The answer in JSON."""
    response = client.post(INFER, json={"inputs": [input or tensor()], **document})
    assert response.status_code == 200, response.text
    InferenceResponse.model_validate(response.json())
    return response.json()


def arrays(answer: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of an answer in JSON, by name."""
    return {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}
