"""Every bad picture in every form of body: the right status, the image that it is about, and words."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.http import refusal
from tests.support.images import encode, image_bomb, png

Body = dict[str, Any]
NOISE = Image.effect_noise((64, 64), 60)


def raw(*pictures: bytes) -> Body:
    return {"content": pictures[-1], "headers": {"content-type": "image/png"}}


def multipart(*pictures: bytes) -> Body:
    return {"files": [("images", (f"{number}.png", data, "image/png")) for number, data in enumerate(pictures)]}


def as_json(*pictures: bytes) -> Body:
    document = {"images": [b64encode(data).decode() for data in pictures]}
    return {"content": json.dumps(document), "headers": {"content-type": "application/json"}}


FORMS: tuple[Callable[..., Body], ...] = (raw, multipart, as_json)
BAD = {
    "text": (b"I am a cat", 415, "not a picture of a supported type: PNG"),
    "tiff": (encode(NOISE, "TIFF"), 415, "not a picture of a supported type"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture of a supported type"),
    "zeros": (bytes(100), 415, "not a picture of a supported type"),
    "half a PNG": (encode(NOISE)[:2000], 422, "damaged or cut short"),
    "half a JPEG": (encode(NOISE, "JPEG")[:1200], 422, "damaged or cut short"),
    "half a WebP": (encode(NOISE, "WEBP")[:900], 422, "damaged or cut short"),
    "half a GIF": (encode(NOISE, "GIF")[:1500], 422, "damaged or cut short"),
    "half a BMP": (encode(NOISE, "BMP")[:1500], 422, "damaged or cut short"),
    "a PNG of nothing": (image_bomb(0), 422, "damaged"),
    "a bomb": (image_bomb(30_000), 413, "30000 x 30000 pixels: at most 16,777,216"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD)
def test_bad_pictures(client: TestClient, example: bytes, form: Callable[..., Body], name: str) -> None:
    """The third of three, or the only one."""
    picture, status, says = BAD[name]
    response = client.post("/predict", **form(example, example, picture))
    number = 0 if form is raw else 2
    assert f"image {number} " in (detail := refusal(response, status))
    assert says in detail
    assert response.json()["image"] == number


@pytest.mark.parametrize("form", FORMS[1:])
def test_empty_and_many(client: TestClient, example: bytes, form: Callable[..., Body]) -> None:
    assert "image 1 is empty" in refusal(client.post("/predict", **form(example, b"")), 422)
    assert "33 images: at most 32" in refusal(client.post("/predict", **form(*[example] * 33)), 413)


@pytest.mark.parametrize("form", FORMS)
def test_bodies_over_the_limit(client: TestClient, form: Callable[..., Body]) -> None:
    big = png(np.random.default_rng(0).integers(0, 256, (800, 1400), dtype=np.uint8))
    assert "1,048,576 bytes" in refusal(client.post("/predict", **form(big)), 413)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("query", "status", "says"),
    [({"level": "p99"}, 404, "no level"), ({"samples": "x"}, 422, "samples"), ({"alpha": "2"}, 422, "alpha must be")],
)
def test_bad_parameters(
    client: TestClient, example: bytes, form: Callable[..., Body], query: dict[str, str], status: int, says: str
) -> None:
    """Found before the body is looked at, whatever it is."""
    for picture in (example, b"no picture"):
        response = client.post("/predict", params=query, **form(picture))
        assert says in refusal(response, status)
        assert "image" not in response.json()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("media_type", ["", "image", "text/plain", "multipart/form-data", "application/octet-stream"])
def test_bodies_under_another_name(
    client: TestClient, example: bytes, form: Callable[..., Body], media_type: str
) -> None:
    """A body that is not what its Content-Type says is refused as what it claims to be."""
    request = client.build_request("POST", "/predict", **form(example))
    status = 400 if media_type == "multipart/form-data" else 415
    response = client.post("/predict", content=request.read(), headers={"content-type": media_type})
    assert "expected" in refusal(response, status)
