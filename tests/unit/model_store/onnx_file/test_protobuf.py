"""The strict reader: what a serialiser wrote comes back, and whatever else there is, is refused."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from model_store.errors import VerificationError
from model_store.onnx_file.protobuf import Field, Message
from model_store.onnx_file.schema import MODEL

INNER = Message("an inner", {1: Field("number", "number"), 2: Field("texts", "text", 3)})
OUTER = Message("an outer", {1: Field("inner", INNER), 3: Field("raw", "raw")}, {2: "a forbidden"})
int64s = st.integers(-(2**63), 2**63 - 1)


def read(message: Message, data: bytes) -> dict[str, object]:
    """What the reader makes of bytes."""
    return message.read(memoryview(data))


@given(int64s, st.lists(st.text("abcé", max_size=9), max_size=3))
def test_what_onnx_writes_is_read(version: int, names: list[str]) -> None:
    """Numbers of either sign and texts, against protobuf's own serialiser."""
    node = helper.make_node("Relu", names, [])
    model = onnx.ModelProto(ir_version=version, graph=onnx.GraphProto(node=[node]))
    found = read(MODEL, model.SerializeToString())
    assert found["ir_version"] == version
    (theirs,) = found["graph"]["nodes"]  # type: ignore[index]
    assert (theirs["inputs"], theirs["op_type"]) == (tuple(names), "Relu")


def test_raw_values_are_not_copied() -> None:
    data = onnx.ModelProto(graph=onnx.GraphProto(initializer=[numpy_helper.from_array(np.ones(9))]))
    written = bytearray(data.SerializeToString())
    (tensor,) = MODEL.read(memoryview(written))["graph"]["tensors"]
    assert tensor["raw_data"].obj is written


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but the one error."""
    for message in (MODEL, INNER, OUTER):
        with suppress(VerificationError):
            assert isinstance(read(message, data), dict)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a\x02\x08\x01" * 2, "an outer has inner twice"),
        (b"\x0a\x04\x08\x01\x08\x01", "an inner has number twice"),
        (b"\x0a\x08" + b"\x12\x00" * 4, "an inner has more than 3 texts"),
        (b"\x12\x00", "an outer has a forbidden, which no level needs"),
        (b"\x22\x00", "unknown field 4"),
        (b"\x08\x01", "has inner in a form"),
        (b"\x1a\x05abc", "cut off"),
        (b"\x1a", "cut off"),
        (b"\x0a\x03\x08\x80\x00", "too long"),
        (b"\x0a\x03\x12\x01\xff", "no text"),
        (b"\x0a\x03\x12\x01\n", "cannot be printed"),
        (b"\x0a\x83\x02\x12\x80\x02" + b"a" * 256, ""),
        (b"\x0a\x84\x02\x12\x81\x02" + b"a" * 257, "more than 256 bytes"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    """Each with what was wrong; 256 bytes of text are the most that is read."""
    if not says:
        assert read(OUTER, data)
        return
    with pytest.raises(VerificationError, match=says):
        read(OUTER, data)
