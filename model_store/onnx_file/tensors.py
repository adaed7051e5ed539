"""Read the constants of a level's file: float32, dense or sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from model_store.errors import VerificationError
from model_store.onnx_file.protobuf import malformed, required

FLOAT, INT64 = 1, 7
FLOAT_BYTES, INDEX_BYTES = 4, 8


@dataclass(frozen=True)
class Tensor:
    """A constant float32 of `shape`: `values` little-endian, sparse at `places` of the flattened tensor, or dense.

    `places` are int64, little-endian, as many as there are values.
    """

    shape: tuple[int, ...]
    values: memoryview
    places: memoryview | None = None

    @property
    def stored(self) -> int:
        """Return the number of values in the file."""
        return len(self.values) // FLOAT_BYTES


def read_tensors(graph: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the constants by name."""
    named = [_dense(tensor) for tensor in graph["tensors"]] + [_sparse(sparse) for sparse in graph["sparse"]]
    tensors = dict(named)
    if len(tensors) < len(named):
        raise VerificationError("the file has two constants of one name")
    return tensors


def _dense(tensor: Mapping[str, Any]) -> tuple[str, Tensor]:
    values = _raw(tensor, FLOAT, FLOAT_BYTES, _shape(tensor))
    return _name(tensor), Tensor(tensor["dims"], values)


def _sparse(sparse: Mapping[str, Any]) -> tuple[str, Tensor]:
    values, indices = (required(sparse, part, "a sparse tensor") for part in ("values", "indices"))
    shape = _shape(sparse)
    if len(values["dims"]) != 1 or values["dims"] != indices["dims"] or not 0 <= values["dims"][0] <= prod(shape):
        raise VerificationError("the file has a sparse tensor whose values, places and shape do not match")
    parts = _raw(values, FLOAT, FLOAT_BYTES, values["dims"]), _raw(indices, INT64, INDEX_BYTES, indices["dims"])
    return _name(values), Tensor(shape, *parts)


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = tensor["dims"]
    if not all(0 < size < 2**31 for size in shape):
        raise VerificationError("the file has a tensor with an invalid shape")
    return shape


def _raw(tensor: Mapping[str, Any], kind: int, size: int, shape: tuple[int, ...]) -> memoryview:
    """Return the bytes of a tensor after checking their type and number."""
    if tensor.get("data_type") != kind:
        raise VerificationError("the file has a tensor of another type than float32, or int64 for places")
    raw: memoryview = tensor.get("raw_data", memoryview(b""))
    if len(raw) != size * prod(shape):
        raise VerificationError("the file has a tensor with more or fewer bytes than its shape")
    return raw


def _name(message: Mapping[str, Any]) -> str:
    name: str = message.get("name", "")
    if not name:
        raise malformed("a tensor has no name")
    return name
