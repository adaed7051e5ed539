"""The three forms of a request's body: what of them is refused, and how."""

from __future__ import annotations

from base64 import b64encode

import pytest
from fastapi.testclient import TestClient

from tests.support.http import PNG, refusal

# What is refused


def test_empty_body(client: TestClient) -> None:
    assert "body is empty" in refusal(client.post("/predict", headers=PNG), 400)


def test_no_image_part(client: TestClient, example: bytes) -> None:
    assert "'images'" in refusal(client.post("/predict", files=[("picture", ("a.png", example))]), 400)
    assert "'images'" in refusal(client.post("/predict", data={"images": "text"}, files=[("x", b"y")]), 400)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"images": []}', b'{"images": "abc"}', b'{"images": [1]}', b'{"images": ["?"]}',
     b'{"images": ["aGk="], "level": "p90"}'],
)  # fmt: skip
def test_malformed_json(client: TestClient, body: bytes) -> None:
    assert refusal(client.post("/predict", content=body, headers={"content-type": "application/json"}), 400)


def test_malformed_multipart(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert refusal(client.post("/predict", content=b"no boundary here", headers=headers), 400)
    headers = {"content-type": "multipart/form-data"}
    assert refusal(client.post("/predict", content=b"no boundary here", headers=headers), 400)


@pytest.mark.parametrize("options", ["", "; boundary=", "; boundary=x; charset=punycode", "; boundary=x; charset=\0"])
def test_odd_multipart_options(client: TestClient, example: bytes, options: str) -> None:
    """A boundary is needed; what else the media type says does not matter."""
    body = b'--x\r\ncontent-disposition: form-data; name="images"; filename="a"\r\n\r\n' + example + b"\r\n--x--\r\n"
    response = client.post("/predict", content=body, headers={"content-type": f"multipart/form-data{options}"})
    if "boundary=x" in options:
        assert response.status_code == 200
    else:
        assert "boundary" in refusal(response, 400)


@pytest.mark.parametrize(
    "body",
    [b'{"images": [' + b'"",' * 300_000 + b'""]}', b"{" + b'"a":1,' * 150_000 + b'"images": [""]}'],
    ids=["images", "keys"],
)
def test_too_many_entries_are_counted_before_they_are_parsed(client: TestClient, body: bytes) -> None:
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert len(refusal(response, 413)) < 200


def test_too_many_parts(client: TestClient) -> None:
    files = [("images", (f"{n}.png", b"x")) for n in range(2000)]
    assert "at most 32 images" in refusal(client.post("/predict", files=files), 413)


def test_33_images(client: TestClient, example: bytes) -> None:
    files = [("images", (f"{n}.png", example)) for n in range(33)]
    assert "33 images" in refusal(client.post("/predict", files=files), 413)
    as_json = {"images": [b64encode(example).decode()] * 33}
    assert "at most 32" in refusal(client.post("/predict", json=as_json), 413)


def test_body_over_the_limit(client: TestClient) -> None:
    """Whether the length is announced or not."""
    body = bytes(2**20 + 1)
    assert "1,048,576 bytes" in refusal(client.post("/predict", content=body, headers=PNG), 413)
    parts = iter([body[:600_000], body[600_000:]])
    assert "1,048,576 bytes" in refusal(client.post("/predict", content=parts, headers=PNG), 413)


@pytest.mark.parametrize("media_type", ["text/plain", "application/pdf", "video/mp4"])
def test_wrong_media_type(client: TestClient, example: bytes, media_type: str) -> None:
    detail = refusal(client.post("/predict", content=example, headers={"content-type": media_type}), 415)
    assert media_type in detail
    assert "multipart/form-data" in detail


def test_missing_media_type(client: TestClient, example: bytes) -> None:
    assert "missing" in refusal(client.post("/predict", content=example), 415)
