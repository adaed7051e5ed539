"""A level's ONNX file, checked before ONNX Runtime sees it, with its random weights taken out.

The file's bytes were verified against the manifest; this refuses what an honest exporter would never write:
external data, operators beyond the few that are needed, tensors larger than any level of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from model_store.manifest import Rounding
from service.errors import ArtifactError

DOMAIN, GAUSSIAN_WEIGHT = "slimbayes", "GaussianWeight"
OPERATORS = frozenset(
    {"Add", "Cast", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Mul", "Relu", "Transpose"}
)
FUNCTION_OPERATORS = frozenset({"Add", "Mul", "RandomNormalLike"})
MAX_ELEMENTS = 2**28
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RandomWeight:
    """A weight to draw: `mean` and `scale` float32 of one shape, under the name of the tensor that it makes."""

    name: str
    mean: FloatArray
    scale: FloatArray


@dataclass(frozen=True)
class Artifact:
    """The graph without its random weights, which it expects as initializers, and those weights in a fixed order.

    `image_shape` is (H, W, C) of the uint8 images that it takes, `num_classes` K of the logits that it gives,
    `roundings` are those of tensors between convolutions in eight bits.
    """

    graph: onnx.ModelProto
    weights: tuple[RandomWeight, ...]
    image_shape: tuple[int, ...]
    num_classes: int
    roundings: Mapping[str, Rounding] = field(default_factory=dict)


def read_artifact(data: bytes, roundings: Mapping[str, Rounding] | None = None) -> Artifact:
    """Parse and check a level's file, to be computed as these roundings say, or in float32.

    Raises ArtifactError where it must not be run.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ArtifactError("the file is not an ONNX model") from error
    try:
        _check_operators(model)
        _check_tensors(model)
        onnx.checker.check_model(model)
        _check_roundings(model, roundings or {})
        return _take_weights_out(model, roundings or {})
    except ArtifactError:
        raise
    except Exception as error:  # what a forged model raises in the checker or in numpy is not foreseeable
        raise ArtifactError("the file is not a valid ONNX model") from error


def _check_operators(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        known = (
            node.op_type in OPERATORS
            if node.domain == ""
            else (node.domain, node.op_type)
            == (
                DOMAIN,
                GAUSSIAN_WEIGHT,
            )
        )
        if not known:
            raise ArtifactError(
                f"the file uses the operator {node.domain or 'onnx'}.{node.op_type}, which no level needs"
            )
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ArtifactError("the file has a graph inside a node, which no level needs")
    for function in model.functions:
        if {node.op_type for node in function.node} - FUNCTION_OPERATORS or any(node.domain for node in function.node):
            raise ArtifactError("the file has a function that does more than draw a weight")


def _check_tensors(model: onnx.ModelProto) -> None:
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ArtifactError("the file names data outside itself")
    shapes = [tensor.dims for tensor in model.graph.initializer] + [s.dims for s in model.graph.sparse_initializer]
    if any(size < 0 for shape in shapes for size in shape) or sum(map(math.prod, shapes)) > MAX_ELEMENTS:
        raise ArtifactError("the file declares tensors larger than any level has")


def _check_roundings(model: onnx.ModelProto, roundings: Mapping[str, Rounding]) -> None:
    made = {name for node in model.graph.node if node.domain != DOMAIN for name in node.output} - {"logits"}
    if unknown := roundings.keys() - made:
        raise ArtifactError(f"the manifest rounds a tensor {min(unknown)!r}, which the file does not have")


def _tensors(model: onnx.ModelProto) -> Iterable[TensorProto]:
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else []))


def _take_weights_out(model: onnx.ModelProto, roundings: Mapping[str, Rounding]) -> Artifact:
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values |= {sparse.values.name: _dense(sparse) for sparse in model.graph.sparse_initializer}
    drawn = [node for node in model.graph.node if node.domain == DOMAIN]
    weights = tuple(_random_weight(node, values) for node in drawn)
    inputs = {name for node in drawn for name in node.input}
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    graph.ClearField("functions")
    del graph.graph.node[:], graph.graph.initializer[:], graph.graph.sparse_initializer[:]
    graph.graph.node.extend(node for node in model.graph.node if node.domain != DOMAIN)
    graph.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in values.items() if name not in inputs
    )
    return Artifact(graph, weights, *_interface(model), roundings)


def _interface(model: onnx.ModelProto) -> tuple[tuple[int, ...], int]:
    """The shape of one image and the number of classes, of a model with the input and output that we know."""
    (images,), (logits,) = model.graph.input, model.graph.output
    takes, gives = images.type.tensor_type, logits.type.tensor_type
    if (images.name, takes.elem_type, len(takes.shape.dim)) != ("images", TensorProto.UINT8, 4):
        raise ArtifactError("the file must take images as uint8 [N, H, W, C]")
    if (logits.name, gives.elem_type, len(gives.shape.dim)) != ("logits", TensorProto.FLOAT, 2):
        raise ArtifactError("the file must give logits as float32 [N, K]")
    return tuple(dim.dim_value for dim in takes.shape.dim[1:]), gives.shape.dim[1].dim_value


def _random_weight(node: onnx.NodeProto, values: dict[str, npt.NDArray[np.generic]]) -> RandomWeight:
    try:
        mean, scale = (values[name] for name in node.input)
    except (KeyError, ValueError) as error:
        raise ArtifactError("the file has a random weight without its mean and scale") from error
    if mean.dtype != np.float32 or scale.dtype != np.float32 or mean.shape != scale.shape:
        raise ArtifactError("the file has a random weight whose mean and scale differ in kind")
    weight = RandomWeight(node.output[0], mean.astype(np.float32), scale.astype(np.float32))
    if not (np.isfinite(weight.mean).all() and np.isfinite(weight.scale).all() and (weight.scale >= 0).all()):
        raise ArtifactError("the file has a random weight that is not finite, or a negative scale")
    return weight


def _dense(sparse: onnx.SparseTensorProto) -> npt.NDArray[np.generic]:
    entries, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    size = math.prod(sparse.dims)
    if (
        places.ndim != 1
        or len(places) != len(entries)
        or (len(places) and not 0 <= places.min() <= places.max() < size)
    ):
        raise ArtifactError("the file has a sparse tensor with places outside its shape")
    flat = np.zeros(size, entries.dtype)
    flat[places] = entries
    return flat.reshape(tuple(sparse.dims))
