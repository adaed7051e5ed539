"""The nodes of a level's ONNX file, read for people without onnx: just enough of the protocol buffers' wire format.

Fields by number, from onnx.proto: of a model 7 graph; of a graph 1 node, 5 initializer, 15 sparse_initializer; of a
node 1 input, 2 output, 4 op_type; of a tensor 1 dims, 8 name; of a sparse tensor 1 values, 3 dims.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from model_store.errors import VerificationError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DRAWN = "GaussianWeight"


@dataclass(frozen=True)
class GraphNode:
    """One operation; `reads` are tensors that other nodes make, `holds` its constants: name, shape, values stored."""

    operation: str
    makes: str
    reads: tuple[str, ...]
    holds: tuple[tuple[str, tuple[int, ...], int], ...]
    random: bool


def read_graph(model: bytes) -> list[GraphNode]:
    """The nodes in order; a random weight is part of the node that reads it.

    Raises VerificationError for bytes that are no ONNX model.
    """
    try:
        (graph,) = (value for number, value in _fields(model) if number == 7)
        return list(_nodes(graph))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise VerificationError("the file is no ONNX model") from error


def _nodes(graph: bytes) -> Iterator[GraphNode]:
    fields = list(_fields(graph))
    constants = dict(_dense(value) for number, value in fields if number == 5)
    constants |= dict(_sparse(value) for number, value in fields if number == 15)
    drawn: dict[str, list[str]] = {}
    for number, value in fields:
        if number != 1:
            continue
        inputs, outputs, (operation, *_) = (_texts(value, field) for field in (1, 2, 4))
        if operation == DRAWN:
            drawn[outputs[0]] = inputs
            continue
        parts = [(part, name in drawn) for name in inputs for part in drawn.get(name, [name])]
        yield GraphNode(
            operation,
            outputs[0],
            tuple(name for name, _ in parts if name not in constants),
            tuple((name, *constants[name]) for name, _ in parts if name in constants),
            any(random for _, random in parts),
        )


def _dense(tensor: bytes) -> tuple[str, tuple[tuple[int, ...], int]]:
    shape = _numbers(tensor, 1)
    return _texts(tensor, 8)[0], (shape, prod(shape))


def _sparse(tensor: bytes) -> tuple[str, tuple[tuple[int, ...], int]]:
    (values,) = (value for number, value in _fields(tensor) if number == 1)
    name, (_, count) = _dense(values)
    return name, (_numbers(tensor, 3), count)


def _texts(message: bytes, wanted: int) -> list[str]:
    return [value.decode() for number, value in _fields(message) if number == wanted]


def _numbers(message: bytes, wanted: int) -> tuple[int, ...]:
    """A repeated whole number, packed or not."""
    found: list[int] = []
    for number, value in _fields(message):
        place = 0
        while number == wanted and place < len(value):
            each, place = _varint(value, place)
            found.append(each)
    return tuple(found)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field; a whole number's bytes are its own encoding."""
    place = 0
    while place < len(message):
        key, start = _varint(message, place)
        kind = key & 7
        if kind == VARINT:
            _, place = _varint(message, start)
        elif kind == BYTES:
            size, start = _varint(message, start)
            place = start + size
        elif kind in (FIXED32, FIXED64):
            place = start + (4 if kind == FIXED32 else 8)
        else:
            raise ValueError(f"no field of kind {kind}")
        if place > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[start:place]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A whole number at `place`, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if not byte & 128:
            return value, place
        if shift > 63:
            raise ValueError("a number is too long")
