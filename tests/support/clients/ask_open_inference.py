"""Asks a service through `open-inference-openapi`, the protocol's own client, and prints what it said as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.errors import BadRequestError, NotFoundError
from open_inference.openapi.types import InferenceRequest, RequestInput

url, model, path = sys.argv[1:]
images = np.load(path)
client = OpenInferenceClient(base_url=url)
client.check_server_liveness()
client.check_server_readiness()
client.check_model_readiness(model)
metadata = client.read_model_metadata(model)
(version,) = metadata.versions
client.check_model_version_readiness(model, version)
said: dict[str, Any] = {
    "server": client.read_server_metadata().dict(),
    "metadata": [metadata.dict(), client.read_model_version_metadata(model, version).dict()],
    "answers": {},
}


def request(data: list[Any], shape: list[int]) -> InferenceRequest:
    """Images, nested or in one list."""
    tensor = RequestInput(name="images", shape=shape, datatype="UINT8", data=data)
    return InferenceRequest(id="7", inputs=[tensor], parameters={"samples": 16})


shape = list(images.shape)
for name, response in {
    "nested": client.model_infer(model, request=request(images.tolist(), shape)),
    "of a version": client.model_version_infer(model, version, request=request(images.ravel().tolist(), shape)),
}.items():
    assert (response.id, response.model_name, response.model_version) == ("7", model, version)
    said["answers"][name] = {
        output.name: np.reshape(output.data.dict()["__root__"], output.shape).tolist() for output in response.outputs
    }
try:
    client.check_model_readiness("cats")
except NotFoundError as error:
    said["other"] = error.body
try:
    client.model_infer(model, request=request([1, 2, 3], [3]))
except BadRequestError as error:
    said["refusal"] = [str(error.status_code), error.body["error"]]
print(json.dumps(said))
