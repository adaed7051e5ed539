"""`POST /v2/models/…/infer`: what it answers, and what it refuses."""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference import HEADER, InferenceResponse
from tests.service.conftest import png
from tests.service.test_predict import ask, image_bomb

INFER = "/v2/models/digits/infer"
PIXELS = np.random.default_rng(8).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)


def tensor(**changes: Any) -> dict[str, Any]:
    """Two images in JSON, with changes; None leaves a key out."""
    whole = {"name": "images", "shape": [2, 8, 8, 1], "datatype": "UINT8", "data": PIXELS.ravel().tolist()} | changes
    return {key: value for key, value in whole.items() if value is not None}


def infer(client: TestClient, input: dict[str, Any] | None = None, **document: Any) -> dict[str, Any]:
    """The answer in JSON."""
    response = client.post(INFER, json={"inputs": [input or tensor()], **document})
    assert response.status_code == 200, response.text
    InferenceResponse.model_validate(response.json())
    return response.json()


def arrays(answer: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of an answer in JSON, by name."""
    return {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}


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


def test_without_an_id_there_is_none(client: TestClient) -> None:
    assert "id" not in infer(client)


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
    rest = len(example).to_bytes(4, "little") + example
    parameters = {"binary_data_size": len(rest)}
    picture = {"name": "images", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    answer = client.post(INFER, **binary({"inputs": [picture], "parameters": {"samples": 8}}, rest)).json()
    assert answer["outputs"] == given["outputs"]


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


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"name": "image"}, 400, "'images'"),
        ({"datatype": "FP32"}, 400, "datatype: Input should be 'UINT8' or 'BYTES'"),
        ({"datatype": 3}, 400, "datatype"),
        ({"shape": None}, 400, "shape"),
        ({"shape": []}, 400, "expected [N, 8, 8, 1]"),
        ({"shape": [2, 64]}, 400, "expected [N, 8, 8, 1]"),
        ({"shape": [2, 1, 8, 8]}, 400, "expected [N, 8, 8, 1]"),
        ({"shape": [-2, 8, 8, 1]}, 400, "shape.0"),
        ({"shape": [2.5, 8, 8, 1]}, 400, "shape.0"),
        ({"shape": [0, 8, 8, 1], "data": []}, 400, "is empty"),
        ({"shape": [33, 8, 8, 1]}, 413, "33 images: at most 32"),
        ({"shape": [10**18, 8, 8, 1]}, 413, "at most 32"),
        ({"shape": [1, 8, 8, 1]}, 400, "one list of 64 values"),
        ({"data": None}, 400, "neither data nor binary_data_size"),
        ({"data": 5}, 400, "data"),
        ({"data": []}, 400, "expected [2, 8, 8, 1], or one list of 128 values"),
        ({"data": [0] * 127}, 400, "have shape [127]"),
        ({"data": PIXELS.reshape(2, 64).tolist()}, 400, "have shape [2, 64]"),
        ({"data": [[0] * 64, [0] * 63]}, 400, "have shape [2]"),
        ({"data": [0] * 127 + [256]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [-1]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [0.5]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [10**30]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + ["7"]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [True]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [None]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [{}]}, 400, "whole numbers from 0 to 255"),
        ({"data": [0] * 127 + [[]]}, 400, "whole numbers from 0 to 255"),
        ({"parameters": {"binary_data_size": 128}}, 400, "both data and binary_data_size"),
        ({"parameters": {"binary_data_size": 128}, "data": None}, 400, "0 bytes follow"),
        ({"parameters": {"binary_data_size": -1}}, 400, "binary_data_size"),
        ({"parameters": {"shared_memory_region": "a"}}, 400, "unknown parameter"),
        ({"datatype": "BYTES"}, 400, "as BYTES: expected [N]"),
        ({"datatype": "BYTES", "shape": [2], "data": ["aGk="]}, 400, "have 1 values: expected 2"),
        ({"datatype": "BYTES", "shape": [1], "data": ["?"]}, 400, "not valid base64"),
        ({"datatype": "BYTES", "shape": [1], "data": [1]}, 400, "image 0 is not text"),
        ({"datatype": "BYTES", "shape": [1], "data": [""]}, 422, "is empty"),
        ({"datatype": "BYTES", "shape": [1], "data": ["aGk="]}, 415, "PNG, JPEG"),
        ({"datatype": "BYTES", "shape": [33], "data": ["aGk="] * 33}, 413, "33 images"),
    ],
)
def test_bad_tensors(client: TestClient, changes: dict[str, Any], status: int, says: str) -> None:
    response = client.post(INFER, json={"inputs": [tensor(**changes)]})
    assert says in refused(response, status)


def test_many_dimensions(client: TestClient) -> None:
    """More than an array can have."""
    data: list[Any] = [0] * 128
    for _ in range(200):
        data = [data]
    assert "expected [2, 8, 8, 1]" in refused(client.post(INFER, json={"inputs": [tensor(data=data)]}), 400)


def test_image_bomb(client: TestClient) -> None:
    """A picture file is refused as it is everywhere."""
    data = [b64encode(image_bomb(30_000)).decode()]
    response = client.post(INFER, json={"inputs": [tensor(datatype="BYTES", shape=[1], data=data)]})
    assert "30000 x 30000 pixels" in refused(response, 413)


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
        ({"inputs": [tensor()], "outputs": [{"name": "std"}] * 2}, 400, "asked for twice"),
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
        ({"max_latency_ms": "inf", "level": "p50"}, 422, "leaves nothing to wish for"),
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


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"inputs": "\\ud800"}'])
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


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parameters": {"binary_data_size": 127}}, "128 bytes follow the document, where 127 were expected"),
        ({"parameters": {"binary_data_size": 129}}, "128 bytes follow the document, where 129 were expected"),
        ({"parameters": None}, "neither data nor binary_data_size"),
        ({"parameters": None, "data": [0] * 128}, "128 bytes follow the document, where 0 were expected"),
        ({"shape": [1, 8, 8, 1]}, "has 128 bytes: a shape of [1, 8, 8, 1] has 64"),
        ({"shape": [2], "datatype": "BYTES"}, "not 2 picture files"),
    ],
)
def test_sizes_that_do_not_match(client: TestClient, changes: dict[str, Any], says: str) -> None:
    assert says in refused(client.post(INFER, **in_binary(**changes)), 400)


@pytest.mark.parametrize("rest", [b"", b"\x05", b"\x05\0\0\0abcd", b"\x03\0\0\0abcd", b"\xff\xff\xff\xffabcd"])
def test_damaged_picture_files(client: TestClient, rest: bytes) -> None:
    """Nothing, half a length, too few bytes, too many, and a length that nobody has room for."""
    parameters = {"binary_data_size": len(rest)}
    picture = {"name": "images", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    assert "not 1 picture files" in refused(client.post(INFER, **binary({"inputs": [picture]}, rest)), 400)


def test_too_many_values_are_counted_before_they_are_parsed(client: TestClient) -> None:
    body = b'{"inputs": [' + b"0," * 300_000 + b"0]}"
    assert "at most 2,048" in refused(client.post(INFER, content=body), 413)


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


def test_other_methods(client: TestClient) -> None:
    assert refused(client.get(INFER), 405)
