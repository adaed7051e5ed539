"""The three forms of a request's body: what of them is refused, and how."""

from __future__ import annotations

from base64 import b64encode, encodebytes, urlsafe_b64encode
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from service.errors import MalformedError
from service.http.content.payload import PIECE_CHARACTERS, from_base64
from tests.support.http import PNG, ask, refusal
from tests.support.open_inference import INFER

# What is refused


def test_empty_body(client: TestClient) -> None:
    assert "body is empty" in refusal(client.post("/predict", headers=PNG), 400)


def test_no_image_part(client: TestClient, example: bytes) -> None:
    assert "'images'" in refusal(client.post("/predict", files=[("picture", ("a.png", example))]), 400)
    assert "'images'" in refusal(client.post("/predict", data={"images": "text"}, files=[("x", b"y")]), 400)
    assert "not a picture" in refusal(client.post("/predict", data={"images": "text"}, files=[("images", b"y")]), 415)


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


# What is taken

URL = "data:image/png;base64,"


def forms(data: bytes) -> dict[str, str]:
    """One picture as clients write it."""
    text = b64encode(data).decode()
    return {
        "plain": text,
        "wrapped by MIME": encodebytes(data).decode(),
        "wrapped with CRLF": encodebytes(data).decode().replace("\n", "\r\n"),
        "indented": f"\n\t  {text}\n",
        "for URLs": urlsafe_b64encode(data).decode(),
        "without padding": text.rstrip("="),
        "for URLs without padding": urlsafe_b64encode(data).decode().rstrip("="),
        "data URL": URL + text,
        "data URL in capitals": f"DATA:IMAGE/PNG;BASE64,{text}",
        "data URL with parameters": f"data:image/png;charset=utf-8;name=a.png;base64,{text}",
        "data URL of another picture": f"data:image/jpeg;base64,{text}",
        "data URL without a type": f"data:;base64,{text}",
        "data URL of bytes": f"data:application/octet-stream;base64,{text}",
        "data URL in percents": URL + quote(text, safe=""),
        "wrapped data URL": URL + encodebytes(data).decode(),
    }


@pytest.mark.parametrize("padding", range(3))
def test_base64_is_taken_in_every_form_that_clients_write(padding: int) -> None:
    for data in (bytes(range(256)) * 3 + bytes(padding), bytes(range(256)) * 7000 + bytes(padding)):
        for name, text in forms(data).items():
            assert from_base64(text, 0) == data, name


def test_padding_ends_large_pictures_too() -> None:
    """Which are decoded in pieces, one of which may end with it."""
    piece = "A" * (PIECE_CHARACTERS - 2) + "=="
    with pytest.raises(MalformedError, match="goes on after its padding"):
        from_base64(piece + "AAAA", 0)
    assert from_base64(piece, 0) == bytes(PIECE_CHARACTERS // 4 * 3 - 2)


def test_pictures_in_base64_of_every_form_get_one_answer(client: TestClient, example: bytes) -> None:
    """Of both protocols, and as many as there may be."""
    expected = ask(client, example, samples=4)["predictions"]
    texts = list(forms(example).values())
    response = client.post("/predict", params={"samples": 4}, json={"images": texts})
    assert [each["label"] for each in response.json()["predictions"]] == [expected[0]["label"]] * len(texts)
    tensor = {"name": "images", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    assert client.post(INFER, json={"inputs": [tensor]}).status_code == 200
    assert client.post("/predict", json={"images": [URL + b64encode(example).decode()] * 32}).status_code == 200


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("?", 400, "the character '?'"),
        ("aGk\0", 400, "the character"),
        ("aG\u0663k", 400, "the character '\u0663'"),
        ("aGk=aGk=", 400, "goes on after its padding"),
        ("aG=k", 400, "goes on after its padding"),
        ("aGkaG", 400, "one too many, or too few"),
        ("aGk==", 400, "padding does not fit"),
        ("=", 400, "padding does not fit"),
        ("aG+_", 400, "mixes"),
        ("data:image/png;base64", 400, "without a comma"),
        ("data:image/png,aGk=", 400, "without base64"),
        ("data:image/svg+xml,%3Csvg/%3E", 400, "without base64"),
        ("data:image/png;base64,a?==", 400, "the character '?'"),
        ("data:image/png;base64,\u0663", 400, "the character '\u0663'"),
        ("data:text/html;base64,aGk=", 415, "a data URL of text/html"),
        ("data:application/pdf;base64,aGk=", 415, "a data URL of application/pdf"),
        ("data:image/svg+xml;base64,PHN2Zy8+", 415, "not a picture of a supported type"),
        ("data:" + "a" * 1000 + ",", 400, "without a comma"),
        ("https://example.org/a.png", 400, "the character ':'"),
    ],
)
def test_what_is_wrong_with_base64_is_said(
    client: TestClient, example: bytes, text: str, status: int, says: str
) -> None:
    good = b64encode(example).decode()
    response = client.post("/predict", json={"images": [good, text]})
    detail = refusal(response, status)
    assert "image 1 " in detail
    assert says in detail
    assert response.json()["image"] == 1


# What would be passed over


@pytest.mark.parametrize(
    "name", ["samples", "sampels", "level", "alpha", "caption", "images[]", "file", "\N{CAT FACE}"]
)
def test_fields_in_the_body_are_never_passed_over(client: TestClient, example: bytes, name: str) -> None:
    """One rule for forms and JSON: parameters belong in the query string, and the message says so."""
    says = f"unknown field {name!r}: files belong in 'images', parameters in the query string"
    files = {"images": ("a.png", example)}
    assert says in refusal(client.post("/predict", data={name: "16"}, files=files), 400)
    assert says in refusal(client.post("/predict", files=files | {name: ("b.png", example)}), 400)
    document = {"images": [b64encode(example).decode()], name: 16}
    assert says in refusal(client.post("/predict", json=document), 400)


def test_the_field_that_html_has_browsers_add_is_no_parameter(client: TestClient, example: bytes) -> None:
    response = client.post("/predict", data={"_charset_": "utf-8"}, files={"images": ("a.png", example)})
    assert response.status_code == 200
