"""Read the pictures of a request: multipart/form-data, a raw image, or JSON with base64."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from urllib.parse import unquote

from python_multipart.multipart import parse_options_header

from service.errors import MalformedError, MediaTypeError, TooLargeError
from service.http.content.json_body import parse_json
from service.http.content.multipart import FormEntry, read_form
from service.settings import Settings
from service.types import FIELD

# Entries beyond the limit on images that are still parsed: other fields, and images to count for the error message.
MAX_EXTRA_ENTRIES = 64
# A field that HTML has browsers add to name the encoding of text.
CHARSET_FIELD = b"_charset_"
# Decoded in about a millisecond, during which no other thread runs; a multiple of four.
PIECE_CHARACTERS = 2**20
WHITE_SPACE = b" \t\r\n\f"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
# RFC 2397, up to the comma; long types are no types.
DATA_URL = re.compile(r"data:(?P<type>[^,;]{0,128})(?P<options>[^,]{0,512}),", re.IGNORECASE)
UNTYPED = ("", "application/octet-stream")


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
    # Count before parsing: one delimiter a part, and one at the end.
    if boundary and body.count(b"--" + boundary) - 1 > max_images + MAX_EXTRA_ENTRIES:
        raise TooLargeError(f"the request has far too many parts: at most {max_images} images are allowed")
    entries = read_form(body, boundary)
    _check_names("the form", (entry.name.decode("utf-8", "replace") for entry in entries if _is_ours(entry)))
    images = [entry.content() for entry in entries if entry.name == FIELD.encode() and not entry.is_empty_file_field]
    if not images:
        raise MalformedError(f"the form has no file in the field {FIELD!r}: expected one or more pictures there")
    return images


def _is_ours(entry: FormEntry) -> bool:
    return entry.name != CHARSET_FIELD and not entry.is_empty_file_field


def _from_json(body: bytes, max_images: int) -> list[bytes]:
    # A data URL has a comma too.
    document = parse_json(body, 2 * max_images + MAX_EXTRA_ENTRIES, f"{max_images} images")
    if isinstance(document, dict):
        _check_names("the body", document)
    if not isinstance(document, dict) or not isinstance(document.get(FIELD), list) or not document[FIELD]:
        raise MalformedError(f'the body has no images: expected {{"{FIELD}": [base64, …]}} with at least one')
    check_count(len(document[FIELD]), max_images)
    return [from_base64(text, number) for number, text in enumerate(document[FIELD])]


def _check_names(where: str, names: Iterable[str]) -> None:
    """Refuse what would be passed over: a parameter in the body is one that its sender thinks is obeyed."""
    unknown = next((name for name in names if name != FIELD), None)
    if unknown is not None:
        says = f"files belong in {FIELD!r}, parameters in the query string, as in /predict?samples=16"
        raise MalformedError(f"{where} has an unknown field {unknown[:80]!r}: {says}")


def check_count(count: int, max_images: int) -> None:
    """Raise TooLargeError for more images in one request than are allowed."""
    if count > max_images:
        raise TooLargeError(f"the request has {count} images: at most {max_images} are allowed")


def from_base64(text: object, number: int) -> bytes:
    """Decode one picture of a JSON document, in base64 or as a data URL, and name its `number` in what is refused.

    Line breaks, the alphabet for URLs and missing padding are taken (RFC 2045, RFC 4648). Raises MalformedError, and
    MediaTypeError for a data URL of something else.
    """
    if not isinstance(text, str):
        raise MalformedError(f"image {number} is not a string: expected a picture in base64", number)
    text = text.strip()
    try:
        return _decode_base64(_from_data_url(text, number) if text[:5].lower() == "data:" else text)
    except UnicodeEncodeError as error:
        problem = f"it has the character {error.object[error.start]!r}"
        raise MalformedError(f"image {number} is not valid base64: {problem}", number) from error
    except binascii.Error as error:
        raise MalformedError(f"image {number} is not valid base64: {error}", number) from error


def _from_data_url(url: str, number: int) -> str:
    """Return the base64 of a data URL (RFC 2397) of an image, or of what it gives no type."""
    found = DATA_URL.match(url)
    if found is None:
        raise MalformedError(f"image {number} is a data URL without a comma before its data", number)
    media_type, options = found["type"].strip().lower(), found["options"].strip().lower()
    if media_type not in UNTYPED and not media_type.startswith("image/"):
        raise MediaTypeError(f"image {number} is a data URL of {media_type}: expected one of an image", number)
    if not re.search(r";\s*base64$", options):
        raise MalformedError(f"image {number} is a data URL without base64: expected data:image/…;base64,…", number)
    data = url[found.end() :]
    return unquote(data) if "%" in data else data


def _decode_base64(text: str) -> bytes:
    """Decode base64 in any of its usual forms; raise binascii.Error or UnicodeEncodeError with what is wrong."""
    try:
        return _decode_canonical(text)
    except ValueError:  # the base of binascii.Error
        pass  # not in the form that nearly all send
    data = text.encode("ascii").translate(None, WHITE_SPACE)
    if b"-" in data or b"_" in data:
        if b"+" in data or b"/" in data:
            raise binascii.Error("it mixes the standard alphabet with that for URLs")
        data = data.translate(URL_SAFE)
    if (odd := NOT_BASE64.search(data)) is not None:
        raise binascii.Error(f"it has the character {odd.group().decode('latin-1')!r}")
    digits = data.rstrip(b"=")
    if b"=" in digits:
        raise binascii.Error("it goes on after its padding")
    if len(digits) % 4 == 1:
        raise binascii.Error(f"{len(digits)} characters of it are one too many, or too few")
    if len(data) - len(digits) not in (0, -len(digits) % 4):
        raise binascii.Error("its padding does not fit its length")
    return _decode_canonical((digits + b"=" * (-len(digits) % 4)).decode())


def _decode_canonical(text: str) -> bytes:
    """Decode base64 without line breaks, in pieces between which other threads run; raise ValueError."""
    if len(text) <= PIECE_CHARACTERS:
        return binascii.a2b_base64(text, strict_mode=True)
    if text.find("=", 0, len(text) - 2) >= 0:
        raise binascii.Error("it goes on after its padding")
    begins = range(0, len(text), PIECE_CHARACTERS)
    return b"".join(binascii.a2b_base64(text[begin : begin + PIECE_CHARACTERS], strict_mode=True) for begin in begins)


def _expected(settings: Settings) -> str:
    types = ", ".join(f"image/{name}" for name in settings.formats)
    return f"multipart/form-data with files in {FIELD!r}, application/json, or one of {types}"
