"""Build the ONNX graph of a level and the posterior of its random weights from the level's file.

`model_store.onnx_file.reader` parses the file and checks its structure. The graph is built anew from what was parsed,
so that neither onnx nor ONNX Runtime ever sees the file; values are checked here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.manifest import Rounding
from model_store.onnx_file.draws import draw_key
from model_store.onnx_file.format import DOMAIN, GAUSSIAN_WEIGHT, IMAGES, IR_VERSION, LOGITS, OPSETS
from model_store.onnx_file.reader import LevelFile, Node, Tensor, read_level_file
from service.errors import ArtifactError
from service.inference.footprint import graph_bytes
from service.types import FloatArray


@dataclass(frozen=True)
class RandomWeight:
    """Gaussian posterior of a weight: `mean` and `scale` float32 of one shape, and the name of the drawn tensor."""

    name: str
    mean: FloatArray
    scale: FloatArray


@dataclass(frozen=True)
class Artifact:
    """Graph of a level, which expects its random weights as initializers, and those weights in a fixed order.

    `image_shape` is (H, W, C) of the uint8 input, `num_classes` K of the logits, `roundings` are those of the tensors
    between convolutions in eight bits.
    """

    graph: onnx.ModelProto
    weights: tuple[RandomWeight, ...]
    image_shape: tuple[int, ...]
    num_classes: int
    roundings: Mapping[str, Rounding] = field(default_factory=dict)

    @cached_property
    def draw_key(self) -> str:
        """Return the key of its draws, so that equal content gives equal answers."""
        return draw_key((weight.mean, weight.scale) for weight in self.weights)

    @property
    def nbytes(self) -> int:
        """Return the bytes of its constants and of its posterior."""
        return graph_bytes(self.graph) + sum(weight.mean.nbytes + weight.scale.nbytes for weight in self.weights)

    @classmethod
    def from_file(cls, file: LevelFile, roundings: Mapping[str, Rounding] | None = None) -> Artifact:
        """Build the artifact of a parsed file, to compute in eight bits where roundings are given, else in float32.

        Raises ArtifactError where it must not be run.
        """
        drawn = [node for node in file.nodes if node.operation == GAUSSIAN_WEIGHT]
        computed = {node.output for node in file.nodes if node.operation != GAUSSIAN_WEIGHT}
        if unknown := (roundings or {}).keys() - (computed - {LOGITS}):
            raise ArtifactError(f"the manifest rounds a tensor {min(unknown)!r}, which the file does not have")
        weights = tuple(RandomWeight(node.output, *(_values(file, name) for name in node.inputs)) for node in drawn)
        if any((weight.scale < 0).any() for weight in weights):
            raise ArtifactError("the file has a random weight with a negative scale")
        return cls(_graph(file), weights, file.image_shape, file.num_classes, roundings or {})


def read_artifact(data: bytes, roundings: Mapping[str, Rounding] | None = None) -> Artifact:
    """Build the artifact of a file's bytes; raise VerificationError or ArtifactError where it must not be run."""
    return Artifact.from_file(read_level_file(data), roundings)


def _graph(file: LevelFile) -> onnx.ModelProto:
    nodes = [_node(node) for node in file.nodes if node.operation != GAUSSIAN_WEIGHT]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        DOMAIN,
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", *file.image_shape])],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", file.num_classes])],
        [numpy_helper.from_array(_values(file, name), name) for name in file.tensors if name in read],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _node(node: Node) -> onnx.NodeProto:
    proto = helper.make_node(node.operation, node.inputs, [node.output], name=node.output)
    proto.attribute.extend(helper.make_attribute(name, value) for name, value in node.attributes.items())
    return proto


def _values(file: LevelFile, name: str) -> FloatArray:
    """Return a constant as a dense array; raise ArtifactError where it is not finite, or an index is out of range."""
    tensor = file.tensors[name]
    values = np.frombuffer(tensor.values, "<f4").astype(np.float32)  # a copy, so that the file can be freed
    if not np.isfinite(values).all():
        raise ArtifactError(f"the file has values in {name!r} that are not finite")
    return (values if tensor.places is None else _scatter(tensor, values, name)).reshape(tensor.shape)


def _scatter(tensor: Tensor, values: FloatArray, name: str) -> FloatArray:
    """Expand sparse values to a dense array, zero elsewhere."""
    places, size = np.frombuffer(tensor.places or b"", "<i8"), math.prod(tensor.shape)
    if len(places) and (places[0] < 0 or places[-1] >= size or (places[1:] <= places[:-1]).any()):
        raise ArtifactError(f"the file has places in {name!r} that are outside its shape or not in order")
    flat = np.zeros(size, np.float32)
    flat[places] = values
    return flat
