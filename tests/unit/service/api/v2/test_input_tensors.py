"""The tensor `images`: what of it is refused, and how."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.images import image_bomb
from tests.support.open_inference import INFER, PIXELS, binary, in_binary, refused, tensor


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
        ({"parameters": {"shared_memory_region": "a"}}, 400, "shared_memory_region is not supported"),
        ({"datatype": "BYTES"}, 400, "as BYTES: expected [N]"),
        ({"datatype": "BYTES", "shape": [2], "data": ["aGk="]}, 400, "have 1 values: expected 2"),
        ({"datatype": "BYTES", "shape": [1], "data": ["?"]}, 400, "not valid base64"),
        ({"datatype": "BYTES", "shape": [1], "data": [1]}, 400, "image 0 is not a string"),
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
    ("changes", "says"),
    [
        ({"parameters": {"binary_data_size": 127}}, "128 bytes follow the document, where 127 were expected"),
        ({"parameters": {"binary_data_size": 129}}, "128 bytes follow the document, where 129 were expected"),
        ({"parameters": None}, "neither data nor binary_data_size"),
        ({"parameters": None, "data": [0] * 128}, "128 bytes follow the document, where 0 were expected"),
        ({"shape": [1, 8, 8, 1]}, "has 128 bytes: a shape of [1, 8, 8, 1] has 64"),
        ({"shape": [2], "datatype": "BYTES"}, "not 2 image files"),
    ],
)
def test_sizes_that_do_not_match(client: TestClient, changes: dict[str, Any], says: str) -> None:
    assert says in refused(client.post(INFER, **in_binary(**changes)), 400)


@pytest.mark.parametrize("rest", [b"", b"\x05", b"\x05\0\0\0abcd", b"\x03\0\0\0abcd", b"\xff\xff\xff\xffabcd"])
def test_damaged_picture_files(client: TestClient, rest: bytes) -> None:
    """Nothing, half a length, too few bytes, too many, and a length that nobody has room for."""
    parameters = {"binary_data_size": len(rest)}
    picture = {"name": "images", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    assert "not 1 image files" in refused(client.post(INFER, **binary({"inputs": [picture]}, rest)), 400)
