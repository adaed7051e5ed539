"""Asks a service through KServe's `InferenceRESTClient`, and prints what it said as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def ask(url: str, model: str, path: str) -> dict[str, Any]:
    """Health, answers in JSON and in binary, and a refusal."""
    images, answers = np.load(path), {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        said = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": [await client.is_model_ready(url, model)],
            "other_ready": [await client.is_model_ready(url, "cats")],
        }
        for name, binary in (("all JSON", False), ("binary", True)):
            tensor = InferInput("images", list(images.shape), "UINT8", parameters={"content_type": "np"})
            tensor.set_data_from_numpy(images, binary_data=binary)
            parameters = {"samples": 16, "binary_data_output": binary, "content_type": "np", "priority": 1}
            request = InferRequest(model, [tensor], request_id=name, parameters=parameters)
            response = await client.infer(url, request, model_name=model)
            assert response.id == name
            answers[name] = {output.name: output.as_numpy().tolist() for output in response.outputs}
        try:
            wrong = InferRequest(model, [InferInput("images", [3], "UINT8", [1, 2, 3])])
            await client.infer(url, wrong, model_name=model)
        except httpx.HTTPStatusError as error:
            said["refusal"] = [str(error.response.status_code), str(error)]
    return said | {"answers": answers}


print(json.dumps(asyncio.run(ask(*sys.argv[1:]))))
