"""Asks a service through `tritonclient[http]`, by its defaults and otherwise, and prints what it said as JSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.http as triton

url, model, path = sys.argv[1:]
images = np.load(path)
client = triton.InferenceServerClient(url.removeprefix("http://"))
(version,) = client.get_model_metadata(model)["versions"]
said = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model_ready": [client.is_model_ready(model), client.is_model_ready(model, version)],
    "other_ready": [client.is_model_ready("cats"), client.is_model_ready(model, "none")],
    "server": client.get_server_metadata(),
    "metadata": [client.get_model_metadata(model), client.get_model_metadata(model, version)],
    "index": client.get_model_repository_index(),
    "answers": {},
}


def ask(name: str, binary: bool = True, **options: object) -> triton.InferResult:
    """One answer, whose default outputs are kept under a name."""
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    parameters = {"samples": 16, "content_type": "np"}
    result = client.infer(model, [tensor], parameters=parameters, request_id=name, **options)
    assert result.get_response()["id"] == name
    outputs = {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}
    said["answers"][name] = {key: values.tolist() for key, values in outputs.items()}
    return result


names = ("probabilities", "std", "uncertainty")
ask("by default")
ask("of a version", model_version=version)
ask("all JSON", binary=False, outputs=[triton.InferRequestedOutput(each, binary_data=False) for each in names])
ask("mixed", outputs=[triton.InferRequestedOutput(each, binary_data=each == "std") for each in names])
ask("with a time", timeout=500_000)
ask("with a priority", priority=1)
ask("of a sequence", sequence_id=7, sequence_start=True, sequence_end=True)
ask("of a named sequence", sequence_id="seven", headers={"traceparent": "00-" + 32 * "1" + "-" + 16 * "1" + "-01"})
ask("through a gateway", query_params={"gateway": "a"})
for each in ("gzip", "deflate"):
    outputs = [triton.InferRequestedOutput(name) for name in (*names, "draws")]
    options = {"request_compression_algorithm": each, "response_compression_algorithm": each}
    result = ask(each, outputs=outputs, **options)
    said["answers"][each]["draws"] = result.as_numpy("draws").mean(1).tolist()

tensor = triton.InferInput("images", [3], "UINT8")
tensor.set_data_from_numpy(np.zeros(3, np.uint8))
try:
    client.infer(model, [tensor])
except triton.InferenceServerException as error:
    said["refusal"] = [error.status(), error.message()]
said["unsupported"] = []
for unsupported in (
    {"outputs": [triton.InferRequestedOutput("probabilities", class_count=3)]},
    {"parameters": {"sampels": 16}},
    {"query_params": {"samples": 16}},
):
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    try:
        client.infer(model, [tensor], **unsupported)
    except triton.InferenceServerException as error:
        said["unsupported"].append(error.message())
print(json.dumps(said))
