"""The three forms of a request's body, each to a list of pictures' bytes: multipart, raw image, JSON with base64."""

from __future__ import annotations

import binascii
from base64 import b64decode

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from service.errors import MalformedError, MediaTypeError, TooLargeError
from service.picture import MEDIA_TYPES
from service.settings import Settings

FIELD = "images"


async def read_pictures(request: Request, settings: Settings) -> list[bytes]:
    """The bytes of every picture in the request, at least one; raise RequestError otherwise."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = await _read_body(request, settings.max_body_bytes)
    if not body:
        raise MalformedError(f"the body is empty: expected {_expected()}")
    if media_type == "multipart/form-data":
        pictures = await _from_multipart(request, body, settings)
    elif media_type == "application/json":
        pictures = _from_json(body)
    elif media_type.startswith("image/") or media_type == "application/octet-stream":
        pictures = [body]
    else:
        raise MediaTypeError(f"Content-Type {media_type or 'is missing and'} is not read here: expected {_expected()}")
    if len(pictures) > settings.max_images:
        raise TooLargeError(f"the request has {len(pictures)} images: at most {settings.max_images} are allowed")
    return pictures


async def _read_body(request: Request, limit: int) -> bytes:
    """The whole body, given up as soon as it is over the limit, whatever length it announced."""
    message = f"the body is over the limit of {limit:,} bytes"
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise TooLargeError(message)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLargeError(message)
        parts.append(part)
    return b"".join(parts)


async def _from_multipart(request: Request, body: bytes, settings: Settings) -> list[bytes]:
    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    again = Request(request.scope, replay)
    try:
        # One more than is allowed is let through, so that the message can say how many there were.
        async with again.form(max_files=10 * settings.max_images, max_fields=16, max_part_size=len(body)) as form:
            fields = form.getlist(FIELD)
            pictures = [await field.read() for field in fields if isinstance(field, UploadFile)]
    except MultiPartException as error:
        raise MalformedError(f"the body is not valid multipart/form-data: {error.message}") from error
    if len(pictures) < len(fields) or not pictures:
        raise MalformedError(f"the form has no file in the field {FIELD!r}: expected one or more pictures there")
    return pictures


def _from_json(body: bytes) -> list[bytes]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get(FIELD), list) or not document[FIELD]:
        raise MalformedError(f'the body has no images: expected {{"{FIELD}": [base64, …]}} with at least one')
    if document.keys() != {FIELD}:
        unknown = ", ".join(sorted(document.keys() - {FIELD}))
        raise MalformedError(f"the body has unknown keys: {unknown}; parameters go into the query")
    return [_from_base64(text, number) for number, text in enumerate(document[FIELD])]


def _from_base64(text: object, number: int) -> bytes:
    if not isinstance(text, str):
        raise MalformedError(f"image {number} is not text: expected the bytes of a picture in base64")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"image {number} is not valid base64") from error


def _expected() -> str:
    return f"multipart/form-data with files in {FIELD!r}, application/json, or one of {', '.join(MEDIA_TYPES)}"
