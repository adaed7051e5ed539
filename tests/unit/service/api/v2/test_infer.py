"""`POST /v2/models/…/infer`: what it answers, and what it refuses."""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode

import pytest
from fastapi.testclient import TestClient

from service.api.v2.schemas import InferenceResponse
from tests.support.http import ask
from tests.support.images import png
from tests.support.open_inference import INFER, PIXELS, arrays, binary, in_binary, infer, refused, tensor

# What it answers


def test_answer_is_that_of_predict(client: TestClient) -> None:
    """Label, uncertainty, draws, and the decision, under the settling that both have by default."""
    answer = infer(client, id="one")
    pictures = [b64encode(png(pixels[:, :, 0])).decode() for pixels in PIXELS]
    predicted = client.post("/predict", json={"images": pictures}).json()
    assert (answer["id"], answer["model_name"]) == ("one", "digits")
    assert answer["model_version"] == answer["parameters"]["version"] == predicted["version"]
    assert answer["parameters"]["level"] == predicted["level"]
    found = arrays(answer)
    assert list(found) == ["probabilities", "std", "uncertainty"]
    said = answer["parameters"]
    for n, prediction in enumerate(predicted["predictions"]):
        assert found["probabilities"][n].max() == prediction["probability"]
        assert found["uncertainty"][n].tolist() == list(prediction["uncertainty"].values())
        assert said["draws"][n] == prediction["monte_carlo"]["draws"]
        assert said["stops"][n] == prediction["monte_carlo"]["stop"]
        assert (said["decisions"][n], said["reasons"][n]) == (prediction["decision"], prediction["reason"])
        assert said["ood"][n] == prediction["ood"]["value"]


def test_without_an_id_there_is_none(client: TestClient) -> None:
    assert "id" not in infer(client)


def test_pixels_nested_or_as_floats(client: TestClient) -> None:
    """Are the same pixels."""
    expected = infer(client)["outputs"]
    assert infer(client, tensor(data=PIXELS.tolist()))["outputs"] == expected
    assert infer(client, tensor(data=PIXELS.astype(float).tolist()))["outputs"] == expected


def test_picture_files(client: TestClient, example: bytes) -> None:
    """As BYTES: in base64 in the document, or each behind its length after it."""
    predicted = ask(client, example, samples=8)["predictions"][0]["probability"]
    data = [b64encode(example).decode()]
    given = infer(client, tensor(datatype="BYTES", shape=[1], data=data), parameters={"samples": 8})
    assert arrays(given)["probabilities"].max() == predicted
    for nested in (data, [data]):  # each with a dimension of its own
        row = tensor(datatype="BYTES", shape=[1, 1], data=nested)
        assert infer(client, row, parameters={"samples": 8})["outputs"] == given["outputs"]
    rest = len(example).to_bytes(4, "little") + example
    parameters = {"binary_data_size": len(rest)}
    picture = {"name": "images", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    answer = client.post(INFER, **binary({"inputs": [picture], "parameters": {"samples": 8}}, rest)).json()
    assert answer["outputs"] == given["outputs"]


def test_wishes(client: TestClient) -> None:
    """Those of `/predict`, and why they led to that level."""
    said = infer(client, parameters={"level": "auto", "min_accuracy": 0.5})["parameters"]
    assert "accuracy of 0.5 or more" in said["level_reason"]
    assert infer(client, parameters={"samples": "4"})["parameters"]["draws"] == [4, 4]


def test_version_in_the_path(client: TestClient) -> None:
    """By its name."""
    answer = infer(client)
    version = answer["model_version"]
    response = client.post(f"/v2/models/digits/versions/{version}/infer", json={"inputs": [tensor()]})
    assert response.json() == answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_both_ways(client: TestClient, encoding: str) -> None:
    """Binary too: the document's length is that before compression."""
    request = in_binary()
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    request["content"] = compress(request["content"])
    request["headers"] |= {"content-encoding": encoding, "accept-encoding": encoding}
    response = client.post(INFER, **request)
    assert response.headers["content-encoding"] == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.json() == infer(client)


def test_small_answers_stay_as_they_are(client: TestClient) -> None:
    document = {"inputs": [tensor()], "outputs": [{"name": "uncertainty"}]}
    response = client.post(INFER, json=document, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers


def test_example_is_a_request(client: TestClient) -> None:
    """The example in the document, under the model that there is."""
    operation = client.get("/openapi.json").json()["paths"]["/v2/models/{model}/infer"]["post"]
    response = client.post(INFER, json=operation["requestBody"]["content"]["application/json"]["example"])
    assert InferenceResponse.model_validate(response.json()).outputs[0].shape == [1, 10]


# What is refused


def test_over_the_limit(client: TestClient) -> None:
    """Announced, unannounced, or only once it is inflated."""
    body = bytes(2**20 + 1)
    parts = iter([body[:600_000], body[600_000:]])
    headers = {"content-encoding": "gzip"}
    for response in (
        client.post(INFER, content=body),
        client.post(INFER, content=parts),
        client.post(INFER, content=gzip.compress(body), headers=headers),
    ):
        assert "1,048,576 bytes" in refused(response, 413)


def test_bad_encodings(client: TestClient) -> None:
    whole = gzip.compress(json.dumps({"inputs": [tensor()]}).encode())
    for body in (b"garbage", whole[:-9]):
        assert "not valid gzip" in refused(client.post(INFER, content=body, headers={"content-encoding": "gzip"}), 400)
    for name in ("br", "gzip, gzip"):
        assert "is not read here" in refused(client.post(INFER, content=whole, headers={"content-encoding": name}), 415)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v2/models/cats/infer", "there is digits"),
        ("/v2/models/cats/versions/1/infer", "there is digits"),
        ("/v2/models/digits/versions/1/infer", "no version or alias"),
    ],
)
def test_unknown_names(client: TestClient, path: str, says: str) -> None:
    assert says in refused(client.post(path, json={"inputs": [tensor()]}), 404)


def test_other_methods(client: TestClient) -> None:
    assert refused(client.get(INFER), 405)
