"""Build the ONNX graphs of a level's members and the posteriors of their random weights from the level's file.

`model_store.onnx_file.reader` parses the file and checks its structure. The graph is built anew from what was parsed,
so that neither onnx nor ONNX Runtime ever sees the file; values are checked here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.manifest import Rounding
from model_store.onnx_file.draws import draw_key
from model_store.onnx_file.format import DOMAIN, GAUSSIAN_WEIGHT, IMAGES, IR_VERSION, LOGITS, OPSETS, member_prefix
from model_store.onnx_file.reader import LevelFile, MemberGraph, Node, read_level_file
from model_store.onnx_file.tensors import Tensor
from service.errors import ArtifactError
from service.inference.footprint import graph_bytes
from service.types import FloatArray

GROUP_NORMALIZATION = "GroupNormalization"


@dataclass(frozen=True)
class RandomWeight:
    """Gaussian posterior of a weight: `mean` and `scale` float32 of one shape, and the name of the drawn tensor."""

    name: str
    mean: FloatArray
    scale: FloatArray


@dataclass(frozen=True)
class Member:
    """Graph of one network, which expects its random weights as initializers, and those weights in a fixed order.

    `roundings` are those of the tensors between convolutions in eight bits.
    """

    graph: onnx.ModelProto
    weights: tuple[RandomWeight, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Return the bytes of its constants and of its posterior."""
        return graph_bytes(self.graph) + 2 * self.draw_bytes

    @property
    def draw_bytes(self) -> int:
        """Return the bytes of one draw of its random weights."""
        return sum(weight.mean.nbytes for weight in self.weights)


@dataclass(frozen=True)
class Artifact:
    """Members of a level, through which draws take turns: one, or those of a mixture.

    `image_shape` is (H, W, C) of the uint8 input, `num_classes` K of the logits.
    """

    members: tuple[Member, ...]
    image_shape: tuple[int, ...]
    num_classes: int

    @cached_property
    def draw_key(self) -> str:
        """Return the key of its draws, so that equal content gives equal answers."""
        return draw_key((weight.mean, weight.scale) for member in self.members for weight in member.weights)

    @property
    def nbytes(self) -> int:
        """Return the bytes of constants and posteriors."""
        return sum(member.nbytes for member in self.members)

    @property
    def draw_bytes(self) -> int:
        """Return the bytes of one draw of the random weights, the most of any member."""
        return max(member.draw_bytes for member in self.members)

    @classmethod
    def from_file(cls, file: LevelFile, roundings: Mapping[str, Rounding] | None = None) -> Artifact:
        """Build the artifact of a parsed file, to compute in eight bits where roundings are given, else in float32.

        Raises ArtifactError where it must not be run.
        """
        given, members = dict(roundings or {}), []
        for number, member in enumerate(file.members):
            prefix = member_prefix(number) if len(file.members) > 1 else ""
            computed = {node.output for node in member.nodes if node.operation != GAUSSIAN_WEIGHT} - {LOGITS}
            own = [name for name in given if name.startswith(prefix) and name.removeprefix(prefix) in computed]
            members.append(_member(file, member, {name.removeprefix(prefix): given.pop(name) for name in own}))
        if given:
            raise ArtifactError(f"the manifest rounds a tensor {min(given)!r}, which the file does not have")
        return cls(tuple(members), file.image_shape, file.num_classes)


def read_artifact(data: bytes, roundings: Mapping[str, Rounding] | None = None) -> Artifact:
    """Build the artifact of a file's bytes; raise VerificationError or ArtifactError where it must not be run."""
    return Artifact.from_file(read_level_file(data), roundings)


def _member(file: LevelFile, member: MemberGraph, roundings: Mapping[str, Rounding]) -> Member:
    drawn = [node for node in member.nodes if node.operation == GAUSSIAN_WEIGHT]
    weights = tuple(RandomWeight(node.output, *(_values(member, name) for name in node.inputs)) for node in drawn)
    if any((weight.scale < 0).any() for weight in weights):
        raise ArtifactError("the file has a random weight with a negative scale")
    return Member(_graph(file, member), weights, roundings)


def _graph(file: LevelFile, member: MemberGraph) -> onnx.ModelProto:
    nodes, made = list[onnx.NodeProto](), list[onnx.TensorProto]()
    for node in member.nodes:
        if node.operation == GROUP_NORMALIZATION:
            nodes += _normalise_groups(node, member, made)
        elif node.operation != GAUSSIAN_WEIGHT:
            nodes.append(_node(node))
    read = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(_values(member, name), name) for name in member.tensors if name in read] + made
    names = [*(node.output[0] for node in nodes), *(tensor.name for tensor in constants)]
    if len(set(names)) < len(names):
        raise ArtifactError("the file has a tensor with a name that its group normalisation needs")
    graph = helper.make_graph(
        nodes,
        DOMAIN,
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", *file.image_shape])],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", file.num_classes])],
        constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _node(node: Node) -> onnx.NodeProto:
    proto = helper.make_node(node.operation, node.inputs, [node.output], name=node.output)
    proto.attribute.extend(helper.make_attribute(name, value) for name, value in node.attributes.items())
    return proto


def _normalise_groups(node: Node, member: MemberGraph, constants: list[onnx.TensorProto]) -> Iterator[onnx.NodeProto]:
    """Yield group normalisation as instance normalisation of the groups' pixels, and add its constants.

    ONNX Runtime would make some thirty operators of it, and take the variance as a difference of large numbers.
    """
    (source, factor, shift), made = node.inputs, node.output
    groups, epsilon = int(node.attributes["num_groups"]), float(node.attributes["epsilon"])  # type: ignore[arg-type]
    values: dict[str, npt.NDArray[np.generic]] = {
        "groups": np.array([0, groups, -1], np.int64),
        "ones": np.ones(groups, np.float32),
        "zeros": np.zeros(groups, np.float32),
        "factors": _values(member, factor)[:, None, None],
        "shifts": _values(member, shift)[:, None, None],
    }
    own = {part: f"{made}.{part}" for part in (*values, "shape", "grouped", "normed", "whole", "scaled")}
    constants += [numpy_helper.from_array(value, own[part]) for part, value in values.items()]
    steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Shape", [source], own["shape"], {}),
        ("Reshape", [source, own["groups"]], own["grouped"], {}),
        ("InstanceNormalization", [own["grouped"], own["ones"], own["zeros"]], own["normed"], {"epsilon": epsilon}),
        ("Reshape", [own["normed"], own["shape"]], own["whole"], {}),
        ("Mul", [own["whole"], own["factors"]], own["scaled"], {}),
        ("Add", [own["scaled"], own["shifts"]], made, {}),
    )
    for operation, inputs, output, attributes in steps:
        yield helper.make_node(operation, inputs, [output], output, **attributes)


def _values(member: MemberGraph, name: str) -> FloatArray:
    """Return a constant as a dense array; raise ArtifactError where it is not finite, or an index is out of range."""
    tensor = member.tensors[name]
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
