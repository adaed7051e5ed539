"""Parse a `multipart/form-data` body that is already in memory and within its size limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import MalformedError

DISPOSITION = b"content-disposition"


@dataclass
class FormEntry:
    """One entry of a form: the options of its Content-Disposition, and its content."""

    options: dict[bytes, bytes] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> bytes:
        return self.options[b"name"]

    @property
    def is_file(self) -> bool:
        """Return whether the entry has a file name, even an empty one."""
        return b"filename" in self.options

    @property
    def content(self) -> bytes:
        return b"".join(self.chunks)


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
        if self._name.lower() == DISPOSITION:
            _, self.entries[-1].options = parse_options_header(self._value)
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        if b"name" not in self.entries[-1].options:
            raise FormParserError("an entry has no name")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.entries[-1].chunks.append(data[start:end])

    def on_end(self) -> None:
        self.complete = True


def read_form(body: bytes, boundary: bytes) -> list[FormEntry]:
    """Return the entries of a form in their order; raise MalformedError where it is not valid."""
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
        parser.write(body)
        if not form.complete:
            raise FormParserError("the form is cut short")
    except (FormParserError, ValueError) as error:
        raise MalformedError("the body is not valid multipart/form-data") from error
    return form.entries
