"""Read the pictures of a request: multipart/form-data, a raw image, or JSON with base64."""

from __future__ import annotations

import binascii
from base64 import b64decode

import orjson
from python_multipart.multipart import parse_options_header

from service.errors import MalformedError, MediaTypeError, TooLargeError
from service.http.multipart import read_form
from service.settings import Settings
from service.types import FIELD

# Entries beyond the limit on images that are still parsed: other fields, and images to count for the error message.
MAX_EXTRA_ENTRIES = 64


def parse_images(body: bytes, content_type: str, settings: Settings) -> list[bytes]:
    """Return the bytes of every image in a request's body, at least one.

    Raises MalformedError for an empty or invalid body, MediaTypeError for another Content-Type, and TooLargeError for
    more than `max_images`.
    """
    media_type, options = parse_options_header(content_type)
    if not body:
        raise MalformedError(f"the body is empty: expected {_expected(settings)}")
    if media_type == b"application/json":
        images = _from_json(body, settings.max_images)
    elif media_type == b"multipart/form-data":
        images = _from_multipart(body, options.get(b"boundary", b""), settings.max_images)
    elif media_type.startswith(b"image/"):
        images = [body]
    else:
        name = media_type.decode("latin-1")[:80]
        problem = f"Content-Type {name} is not supported" if name else "the Content-Type is missing"
        raise MediaTypeError(f"{problem}: expected {_expected(settings)}")
    check_count(len(images), settings.max_images)
    return images


def parsing_bytes(body: bytes, content_type: str) -> int:
    """Return the most memory that `parse_images` takes beside the body, in bytes: texts of JSON, and images."""
    return 0 if content_type.startswith("image/") else 2 * len(body)


def _from_multipart(body: bytes, boundary: bytes, max_images: int) -> list[bytes]:
    if not boundary:
        raise MalformedError("the Content-Type has no boundary: expected multipart/form-data; boundary=…")
    # Count before parsing: one delimiter a part, and one at the end.
    _check_entries(body.count(b"--" + boundary) - 1, max_images)
    fields = [entry for entry in read_form(body, boundary) if entry.name == FIELD.encode()]
    if not fields or not all(entry.is_file for entry in fields):
        raise MalformedError(f"the form has no file in the field {FIELD!r}: expected one or more pictures there")
    return [entry.content for entry in fields]


def _from_json(body: bytes, max_images: int) -> list[bytes]:
    # Count before parsing: base64 has no comma.
    _check_entries(body.count(b",") + 1, max_images)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError("the body is not valid JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get(FIELD), list) or not document[FIELD]:
        raise MalformedError(f'the body has no images: expected {{"{FIELD}": [base64, …]}} with at least one')
    if document.keys() != {FIELD}:
        unknown = min(document.keys() - {FIELD})[:80]
        raise MalformedError(f"the body has an unknown key {unknown!r}: parameters belong in the query string")
    check_count(len(document[FIELD]), max_images)
    return [from_base64(text, number) for number, text in enumerate(document[FIELD])]


def _check_entries(count: int, max_images: int) -> None:
    """Bound what a parser would build, cheaply; the exact number of images is checked afterwards."""
    if count > max_images + MAX_EXTRA_ENTRIES:
        raise TooLargeError(f"the request has far too many parts or entries: at most {max_images} images are allowed")


def check_count(count: int, max_images: int) -> None:
    """Raise TooLargeError for more images in one request than are allowed."""
    if count > max_images:
        raise TooLargeError(f"the request has {count} images: at most {max_images} are allowed")


def from_base64(text: object, number: int) -> bytes:
    """Decode one picture of a JSON document; raise MalformedError, naming its `number` in the request."""
    if not isinstance(text, str):
        raise MalformedError(f"image {number} is not a string: expected a picture in base64", number)
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"image {number} is not valid base64", number) from error


def _expected(settings: Settings) -> str:
    types = ", ".join(f"image/{name}" for name in settings.formats)
    return f"multipart/form-data with files in {FIELD!r}, application/json, or one of {types}"
