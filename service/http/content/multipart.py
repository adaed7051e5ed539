"""Parse a `multipart/form-data` body (RFC 7578) that is already in memory and within its size limit."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import MalformedError

# RFC 2046, section 5.1.1.
MAX_BOUNDARY_BYTES = 70
# Transfer encodings that leave the content as it is; RFC 7578 deprecates them all, and mail libraries send them.
IDENTITY_ENCODINGS = (b"", b"7bit", b"8bit", b"binary")


@dataclass
class FormEntry:
    """One entry of a form: its headers in lower case, and its content."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    options: dict[bytes, bytes] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> bytes:
        return self.options[b"name"]

    @property
    def is_empty_file_field(self) -> bool:
        """Return whether a browser sent this for a file field in which no file was chosen."""
        return self.options.get(b"filename") == b"" and not any(self.chunks)

    def content(self) -> bytes:
        """Return the content, decoded from base64 if the entry says so; raise MalformedError."""
        encoding = self.headers.get(b"content-transfer-encoding", b"").strip().lower()
        data = b"".join(self.chunks)
        if encoding in IDENTITY_ENCODINGS:
            return data
        if encoding != b"base64":
            name = encoding.decode("latin-1")[:80]
            raise MalformedError(f"an entry has the Content-Transfer-Encoding {name!r}: expected base64, or none")
        try:
            return binascii.a2b_base64(data.translate(None, b"\r\n"), strict_mode=True)
        except binascii.Error as error:
            raise MalformedError(f"an entry is not valid base64, as its header says: {error}") from error


class FormHandler:
    """Collect the entries of a form from the parser's callbacks."""

    def __init__(self) -> None:
        self.entries: list[FormEntry] = []
        self.complete = False
        self._name = self._value = b""

    def on_part_begin(self) -> None:
        self.entries.append(FormEntry())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.entries[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        entry = self.entries[-1]
        # Of file names, which RFC 8187 writes as filename*, only their absence matters here.
        _, entry.options = parse_options_header(entry.headers.get(b"content-disposition"))
        if b"name" not in entry.options:
            raise MalformedError('an entry of the form has no name: expected Content-Disposition: form-data; name="…"')

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.entries[-1].chunks.append(data[start:end])

    def on_end(self) -> None:
        self.complete = True


def read_form(body: bytes, boundary: bytes) -> list[FormEntry]:
    """Return the entries of a form in their order; raise MalformedError where it is not valid."""
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        problem = f"a boundary of {len(boundary)} bytes" if boundary else "no boundary"
        raise MalformedError(
            f"the Content-Type has {problem}: expected multipart/form-data; boundary=… of at most {MAX_BOUNDARY_BYTES}"
        )
    form = FormHandler()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
        parser.write(_without_preamble(body, b"--" + boundary))
        if not form.complete:
            raise FormParserError("the form is cut short")
    except (FormParserError, ValueError) as error:
        raise MalformedError(f"the body is not valid multipart/form-data: {_reason(body, boundary)}") from error
    return form.entries


def _without_preamble(body: bytes, delimiter: bytes) -> bytes:
    """Cut off what RFC 2046 lets stand before the first delimiter, which the parser would refuse."""
    if body.startswith(delimiter + b"\r\n"):
        return body
    first = re.search(rb"(?:\A|\r\n)(" + re.escape(delimiter) + rb"(?:--)?[ \t]*(?:\r\n|\Z))", body)
    return body if first is None else body[first.start(1) :]


def _reason(body: bytes, boundary: bytes) -> str:
    delimiter = b"--" + boundary
    if delimiter not in body:
        return "the boundary that the Content-Type names is not in it"
    if delimiter + b"\n" in body:
        return "its lines end with LF, expected CRLF"
    if delimiter + b"--" not in body:
        return "it is cut short before its last boundary"
    return "a header of an entry is damaged or too long, or a boundary is not on a line of its own"
