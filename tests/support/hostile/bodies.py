"""Bodies of requests that cost far more than they weigh, or that real clients send and few services expect.

Each is made for a service that takes bodies of so many bytes, and is its headers, among them the `path`, and its bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.support.hostile.pictures.bombs import jpeg_fill_byte, png_texts, png_two_headers, webp_of_few_bytes
from tests.support.images import png

Headers = dict[str, str]
Body = tuple[Headers, bytes]
MODEL = "cifar10-resnet20"
PREDICT, INFER, INDEX = "/predict", f"/v2/models/{MODEL}/infer", "/v2/repository/index"
JSON = "application/json"
# Of the model's size.
PICTURE = png(np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8))
LEVELS = ("dense", "p80", "p90", "p95", "x4")


def raw(picture: bytes, kind: str = "png", path: str = PREDICT) -> Body:
    """One picture."""
    return {"path": path, "Content-Type": f"image/{kind}"}, picture


def form(*pictures: bytes, head: bytes = b"", boundary: bytes = b"b") -> Body:
    """Pictures as a form, with more in the head of each part."""
    disposition = b'Content-Disposition: form-data; name="images"; filename="a"\r\n'
    parts = [b"--" + boundary + b"\r\n" + disposition + head + b"\r\n" + each + b"\r\n" for each in pictures]
    media_type = f"multipart/form-data; boundary={boundary.decode()}"
    return {"path": PREDICT, "Content-Type": media_type}, b"".join(parts) + b"--" + boundary + b"--\r\n"


def document(value: Any, path: str = PREDICT) -> Body:
    """A document of JSON."""
    return {"path": path, "Content-Type": JSON}, json.dumps(value).encode("utf-8", "surrogatepass")


def text(body: bytes, path: str = PREDICT) -> Body:
    """What is not necessarily JSON, as JSON."""
    return {"path": path, "Content-Type": JSON}, body


def packed(body: Body, encoding: str = "gzip") -> Body:
    """A body as it is sent compressed."""
    headers, data = body
    data = gzip.compress(data, 9, mtime=0) if encoding == "gzip" else zlib.compress(data, 9)
    return {**headers, "Content-Encoding": encoding}, data


def tensor(shape: list[Any], data: Any = None, kind: str = "UINT8", **more: Any) -> dict[str, Any]:
    """A request of the Open Inference Protocol."""
    given = {"name": "images", "shape": shape, "datatype": kind} | ({} if data is None else {"data": data})
    return {"inputs": [given | more.pop("input", {})], **more}


def binary(shape: list[Any], rest: bytes, kind: str = "UINT8", announced: int | None = None) -> Body:
    """A tensor behind its document."""
    size = {"parameters": {"binary_data_size": len(rest) if announced is None else announced}}
    head = json.dumps(tensor(shape, None, kind, input=size)).encode()
    return {"path": INFER, "Inference-Header-Content-Length": str(len(head))}, head + rest


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def wrapped(data: bytes) -> str:
    """Base64 in lines of 76 characters."""
    whole = base64(data)
    return "\r\n".join(whole[start : start + 76] for start in range(0, len(whole), 76))


def many_parts(size: int) -> Body:
    """Parts without content."""
    return form(*[b""] * (size // 80))


def many_fields(size: int) -> Body:
    """A part whose head has thousands of lines."""
    return form(PICTURE, head=b"X: y\r\n" * (size // 10))


def long_field(size: int) -> Body:
    """A part whose head has one endless line."""
    return form(PICTURE, head=b"X: " + b"y" * (size // 2) + b"\r\n")


def dashes(size: int) -> Body:
    """Content that begins like a boundary all the time."""
    return form(b"\r\n-" * (size // 4), boundary=b"-" * 60)


WHOLE: dict[str, Callable[[int], Body]] = {
    "a picture": lambda size: raw(PICTURE),
    "a form": lambda size: form(PICTURE, PICTURE),
    "a form with fields": lambda size: form(PICTURE, head=b"Content-Type: image/png\r\n"),
    "a document": lambda size: document({"images": [base64(PICTURE)]}),
    "a data address": lambda size: document({"images": ["data:image/png;base64," + base64(PICTURE)]}),
    "base64 in lines": lambda size: document({"images": [wrapped(PICTURE)]}),
    "a tensor": lambda size: document(tensor([1, 32, 32, 3], [7] * 3072), INFER),
    "a nested tensor": lambda size: document(tensor([1, 32, 32, 3], [[[[7, 8, 9]] * 32] * 32]), INFER),
    "a tensor of files": lambda size: document(tensor([1], [base64(PICTURE)], "BYTES"), INFER),
    "a binary tensor": lambda size: binary([1, 32, 32, 3], bytes(3072)),
    "binary files": lambda size: binary([1], len(PICTURE).to_bytes(4, "little") + PICTURE, "BYTES"),
    "a picture in gzip": lambda size: packed(raw(PICTURE)),
    "a picture in deflate": lambda size: packed(raw(PICTURE), "deflate"),
}
HOSTILE: dict[str, Callable[[int], Body]] = {
    "lists without end": lambda size: packed(text(b"[" + b"[]," * ((size - 9) // 3) + b"[]]", INDEX)),
    "lists of images": lambda size: packed(text(b'{"images":[' + b"[]," * ((size - 20) // 3) + b"[]]}")),
    "lists of pixels": lambda size: packed(text(b'{"inputs":[' + b"[]," * ((size - 20) // 3) + b"[]]}", INFER)),
    "numbers without end": lambda size: packed(text(b"[" + b"1 ," * ((size - 9) // 3) + b"1]", INDEX)),
    "keys without end": lambda size: packed(text(b"{" + b'"a":0,' * (size // 6 - 2) + b'"a":0}', INDEX)),
    "nested without end": lambda size: packed(text(b"[" * (size - 1), INDEX)),
    "nested images": lambda size: text(b'{"images":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "nested pixels": lambda size: text(
        json.dumps(tensor([1], "X")).replace('"X"', "[" * 500 + "]" * 500).encode(), INFER
    ),
    "uneven pixels": lambda size: document(tensor([1, 32, 32, 3], [[[1, 2], [[3]]], [[4], 5]]), INFER),
    "pixels that are texts": lambda size: document(tensor([1, 32, 32, 3], ["\ud800"] * 3072), INFER),
    "pixels beyond numbers": lambda size: document(tensor([1, 32, 32, 3], [1e308, -1e308] * 1536), INFER),
    "a shape beyond numbers": lambda size: document(tensor([2**63 - 1, 32, 32, 3], [1]), INFER),
    "a shape of many": lambda size: document(tensor([1] * 2_000, [1]), INFER),
    "spaces": lambda size: packed(text(b" " * (size - 1))),
    "zeros inflated": lambda size: packed(raw(bytes(size - 1))),
    "more than allowed inflated": lambda size: packed(raw(bytes(4 * size))),
    "packed twice": lambda size: packed(packed(raw(PICTURE))),
    "not what its encoding says": lambda size: ({**raw(PICTURE)[0], "Content-Encoding": "gzip"}, PICTURE),
    "many parts": many_parts,
    "many fields in a part": many_fields,
    "a long field in a part": long_field,
    "boundaries that begin": dashes,
    "a boundary of nothing": lambda size: ({"path": PREDICT, "Content-Type": "multipart/form-data"}, form(PICTURE)[1]),
    "a file name of RFC 5987": lambda size: (
        form(PICTURE)[0],
        form(PICTURE)[1].replace(b'filename="a"', b"filename*=UTF-8''caf%C3%A9.png"),
    ),
    "a form whose lines do not end": lambda size: (
        form(PICTURE)[0],
        form(PICTURE)[1].replace(b"\r\n\r\n", b"\r\n\rX", 1),
    ),
    "options in the form": lambda size: (
        form(PICTURE)[0],
        b'--b\r\nContent-Disposition: form-data; name="samples"\r\n\r\n8\r\n' + form(PICTURE)[1],
    ),
    "a binary tensor that is not there": lambda size: binary([1, 32, 32, 3], b"", announced=3072),
    "binary files beyond the end": lambda size: binary([1], b"\xff\xff\xff\xff" + PICTURE, "BYTES"),
    "few bytes of WebP": lambda size: form(*[webp_of_few_bytes()] * 32),
    "two headers in PNG": lambda size: form(*[png_two_headers()] * max(1, min(32, size // 30_000))),
    "texts in PNG": lambda size: raw(png_texts(min(200, size // 1000))),
    "a fill byte in JPEG": lambda size: raw(jpeg_fill_byte(), "jpeg"),
    "a picture as large as a body": lambda size: raw(bytes(size)),
}
# Draws of each level in turn, which need networks of their own.
THRASH: dict[str, Callable[[int], Body]] = {
    f"all draws of {level}": partial(
        lambda level, size: raw(PICTURE, path=f"{PREDICT}?samples=256&level={level}"), level
    )
    for level in LEVELS
}
BODIES = WHOLE | HOSTILE
