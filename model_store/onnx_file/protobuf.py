"""Read protocol buffers strictly: only fields that a table allows, each as often as allowed, nothing merged or skipped.

A reader that skips unknown fields passes them on to the next reader, and one that builds whatever a message asks for
lets two bytes cost hundreds. Here nothing is built beyond the tables, so that they bound memory and nesting whatever
the bytes say; and bytes have only one reading. Bytes are not copied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from model_store.errors import VerificationError

VARINT, BYTES, FIXED32 = 0, 2, 5
# Longest name or other text.
MAX_TEXT_BYTES = 256


@dataclass(frozen=True)
class Field:
    """An optional field: up to `max_count` times, as a tuple where `max_count` is not 1."""

    name: str
    kind: Literal["number", "float", "text", "raw"] | Message
    max_count: int = 1

    @property
    def wire_type(self) -> int:
        """Return how the field is written."""
        return VARINT if self.kind == "number" else FIXED32 if self.kind == "float" else BYTES

    def read(self, data: memoryview, offset: int) -> tuple[Any, int]:
        """Return the value at `offset`, and its end."""
        readers: dict[int, Callable[[memoryview, int], tuple[Any, int]]]
        readers = {VARINT: _number, FIXED32: _float, BYTES: _bytes}
        return readers[self.wire_type](data, offset)


@dataclass(frozen=True)
class Message:
    """A kind of message: its name, its fields by number, and names of refused fields by number."""

    name: str
    fields: Mapping[int, Field]
    refused: Mapping[int, str] = field(default_factory=dict)

    def read(self, data: memoryview) -> dict[str, Any]:
        """Parse a message as values by field; absent fields are missing, or an empty tuple where they may repeat.

        Raises VerificationError where the bytes are no such message.
        """
        found: dict[str, Any] = {each.name: [] for each in self.fields.values() if each.max_count > 1}
        offset = 0
        while offset < len(data):
            key, offset = _varint(data, offset)
            each = self._field(key)
            value, offset = each.read(data, offset)
            if each.max_count > 1:
                found[each.name].append(self._value(each, value))
                if len(found[each.name]) > each.max_count:
                    raise VerificationError(f"{self.name} has more than {each.max_count} {each.name}")
            elif each.name in found:
                raise malformed(f"{self.name} has {each.name} twice")
            else:
                found[each.name] = self._value(each, value)
        return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}

    def _field(self, key: int) -> Field:
        number, kind = key >> 3, key & 7
        if number in self.refused:
            raise VerificationError(f"{self.name} has {self.refused[number]}, which no level needs")
        if number not in self.fields:
            raise malformed(f"{self.name} has an unknown field {number}")
        each = self.fields[number]
        if kind != each.wire_type:
            raise malformed(f"{self.name} has {each.name} in a form that exporters do not write")
        return each

    def _value(self, each: Field, value: Any) -> Any:
        if isinstance(each.kind, Message):
            return each.kind.read(value)
        return _text(value, f"{self.name} has {each.name}") if each.kind == "text" else value


def malformed(what: str) -> VerificationError:
    """Return the error for bytes that are no ONNX model at all."""
    return VerificationError(f"the file is no ONNX model: {what}")


def required(message: Mapping[str, Any], part: str, what: str) -> Any:
    """Return a field of a message that must have it."""
    if part not in message:
        raise malformed(f"{what} has no {part}")
    return message[part]


def _text(value: memoryview, what: str) -> str:
    if len(value) > MAX_TEXT_BYTES:
        raise VerificationError(f"{what} of more than {MAX_TEXT_BYTES} bytes")
    try:
        text = str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"{what} that is no text") from error
    if not text.isprintable():
        raise VerificationError(f"{what} with characters that cannot be printed")
    return text


def _bytes(data: memoryview, offset: int) -> tuple[memoryview, int]:
    size, offset = _varint(data, offset)
    if size > len(data) - offset:
        raise malformed("a field is cut off")
    return data[offset : offset + size], offset + size


def _number(data: memoryview, offset: int) -> tuple[int, int]:
    """Return the int64 at `offset`, and its end."""
    value, offset = _varint(data, offset)
    return value - 2**64 if value >= 2**63 else value, offset


def _float(data: memoryview, offset: int) -> tuple[float, int]:
    """Return the float32 at `offset`, and its end."""
    if len(data) - offset < 4:
        raise malformed("a number is cut off or too long")
    (value,) = struct.unpack_from("<f", data, offset)
    return value, offset + 4


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    """Return an unsigned number of 64 bits in its shortest form, and its end."""
    value = shift = 0
    while offset < len(data) and shift < 70:
        byte = data[offset]
        value |= (byte & 127) << shift
        offset, shift = offset + 1, shift + 7
        if not byte & 128:
            if value >= 2**64 or (byte == 0 and shift > 7):
                break
            return value, offset
    raise malformed("a number is cut off or too long")
