"""The three forms of a request's body, each to a list of pictures' bytes: multipart, raw image, JSON with base64."""

from __future__ import annotations

import binascii
from base64 import b64decode

import anyio
import orjson
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from service.errors import MalformedError, MediaTypeError, TooLargeError
from service.http.body import read_body
from service.http.multipart import read_form
from service.settings import Settings
from service.types import FIELD

# A request may have a few entries that are no images, and more images than are allowed, and still be told how many.
MORE_ENTRIES = 64


async def read_pictures(request: Request, settings: Settings, workers: anyio.CapacityLimiter) -> list[bytes]:
    """The bytes of every picture in the request, at least one; raise RequestError otherwise."""
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    body = await read_body(request, settings.max_body_bytes, settings.receive_seconds, workers)
    if not body:
        raise MalformedError(f"the body is empty: expected {_expected(settings)}")
    if media_type == b"multipart/form-data":
        pictures = _from_multipart(body, options.get(b"boundary", b""), settings.max_images)
    elif media_type == b"application/json":
        pictures = _from_json(body, settings.max_images)
    elif media_type.startswith(b"image/"):
        pictures = [body]
    else:
        named = media_type.decode("latin-1")[:80] or "is missing and"
        raise MediaTypeError(f"Content-Type {named} is not read here: expected {_expected(settings)}")
    check_count(len(pictures), settings.max_images)
    return pictures


def _from_multipart(body: bytes, boundary: bytes, max_images: int) -> list[bytes]:
    if not boundary:
        raise MalformedError("the Content-Type has no boundary: expected multipart/form-data; boundary=…")
    # Counted before they are parsed: the parts, and the end.
    _check_entries(body.count(b"--" + boundary) - 1, max_images)
    fields = [entry for entry in read_form(body, boundary) if entry.name == FIELD.encode()]
    if not fields or not all(entry.is_file for entry in fields):
        raise MalformedError(f"the form has no file in the field {FIELD!r}: expected one or more pictures there")
    return [entry.content for entry in fields]


def _from_json(body: bytes, max_images: int) -> list[bytes]:
    # Counted before they are parsed: base64 has no comma.
    _check_entries(body.count(b",") + 1, max_images)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError("the body is not valid JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get(FIELD), list) or not document[FIELD]:
        raise MalformedError(f'the body has no images: expected {{"{FIELD}": [base64, …]}} with at least one')
    if document.keys() != {FIELD}:
        unknown = min(document.keys() - {FIELD})[:80]
        raise MalformedError(f"the body has an unknown key {unknown!r}: parameters go into the query")
    check_count(len(document[FIELD]), max_images)
    return [from_base64(text, number) for number, text in enumerate(document[FIELD])]


def _check_entries(count: int, most: int) -> None:
    """A cheap bound on what a parser would make; the exact count is checked after it."""
    if count > most + MORE_ENTRIES:
        raise TooLargeError(f"the request has far too many parts or entries: at most {most} images are allowed")


def check_count(count: int, most: int) -> None:
    """Raise TooLargeError for more images in one request than are allowed."""
    if count > most:
        raise TooLargeError(f"the request has {count} images: at most {most} are allowed")


def from_base64(text: object, number: int) -> bytes:
    if not isinstance(text, str):
        raise MalformedError(f"image {number} is not text: expected the bytes of a picture in base64", number)
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"image {number} is not valid base64", number) from error


def _expected(settings: Settings) -> str:
    types = ", ".join(f"image/{name}" for name in settings.formats)
    return f"multipart/form-data with files in {FIELD!r}, application/json, or one of {types}"
