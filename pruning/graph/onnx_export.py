"""Export the graph as an ONNX file with uint8 images as input and logits as output; each run is one draw.

Each random weight calls `slimbayes.GaussianWeight(mean, scale)`, a function inside the file, so that plain ONNX Runtime
can draw from it; a mixture calls `slimbayes.PickMember(members)`, and each member's network is a branch. `mean` and
`scale` are stored sparse if that is smaller. Opset 21 and IR 10: from opset 22 on, ONNX Runtime's CPU provider has no
RandomNormalLike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from model_store.manifest import SCHEMA_VERSION, Rounding
from model_store.onnx_file import format as file_format
from pruning.graph import network as ir
from pruning.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Clip,
    Concat,
    Convolution,
    Flatten,
    GlobalAveragePool,
    GroupNormalisation,
    LayerNormalisation,
    Linear,
    MaxPool,
    Multiply,
    Node,
    Normalisation,
    Weighted,
    sources,
)

# A sparse value takes eight bytes of index in addition to its own four.
SPARSE_BELOW_DENSITY = 1 / 3


def export_onnx(*members: ir.Network) -> onnx.ModelProto:
    """Export a network, or a mixture of several, as a checked ONNX model; equal networks give equal bytes.

    A run of a mixture picks one of its members, each as probable as the others, and computes only that one.
    """
    first = members[0]
    image_shape = first.pixels.height, first.pixels.width, first.pixels.channels
    writers = [_Writer(network, prefix) for network, prefix in zip(members, _prefixes(len(members)), strict=True)]
    nodes, constants, functions = writers[0].nodes, list[onnx.TensorProto](), [gaussian_weight()]
    if len(members) > 1:
        nodes, constants = _turns([writer.nodes for writer in writers])
        functions.append(pick_member())
    graph = helper.make_graph(
        nodes,
        file_format.DOMAIN,
        [helper.make_tensor_value_info(file_format.IMAGES, TensorProto.UINT8, ["N", *image_shape])],
        [helper.make_tensor_value_info(file_format.LOGITS, TensorProto.FLOAT, ["N", first.widths[first.output]])],
        constants + [tensor for writer in writers for tensor in writer.dense],
        sparse_initializer=[tensor for writer in writers for tensor in writer.sparse],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in file_format.OPSETS.items()],
        ir_version=file_format.IR_VERSION,
        functions=functions,
        producer_name="slimbayes",
    )
    # The full check's type inference rejects sparse initializers as inputs of a function.
    onnx.checker.check_model(model)
    return model


def shared_parts(*members: ir.Network) -> tuple[str, ...]:
    """Return the exported names of the outputs of the part that all draws of a member share."""
    return tuple(
        prefix + _exported(network, name)
        for network, prefix in zip(members, _prefixes(len(members)), strict=True)
        for name in ir.shared_tensors(network)
    )


def roundings(*members: ir.Network) -> dict[str, Rounding]:
    """Return the roundings of exported tensors by name; empty if all is computed in float32."""
    return {
        prefix + _exported(network, name): Rounding(scale=each.scale, zero_point=each.zero_point)
        for network, prefix in zip(members, _prefixes(len(members)), strict=True)
        for name, each in network.roundings.items()
    }


def _prefixes(members: int) -> list[str]:
    return [file_format.member_prefix(member) if members > 1 else "" for member in range(members)]


def _exported(network: ir.Network, name: str) -> str:
    return {network.output: file_format.LOGITS, file_format.IMAGES: file_format.PIXELS}.get(name, name)


def _turns(members: Sequence[list[onnx.NodeProto]]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Ask each member in turn whether it was picked; return the nodes and their constants."""
    count = len(members)
    constants = {file_format.MEMBERS: np.arange(count), file_format.NOTHING: np.zeros((1, 1))}
    kind, read, made = file_format.PICK_MEMBER, file_format.MEMBERS, file_format.MEMBER
    nodes = [helper.make_node(kind, [read], [made], name=made, domain=file_format.DOMAIN)]
    for member, network in enumerate(members):
        number, picked, before, after = file_format.turn(member, count)
        constants[number] = np.full(1, member)
        logits, passed = network[-1].output[0], f"{picked}.passed"
        branches = {
            file_format.THEN: _branch(network, logits),
            file_format.ELSE: _branch([helper.make_node("Identity", [before], [passed], name=passed)], passed),
        }
        nodes.append(helper.make_node("Equal", [file_format.MEMBER, number], [picked], name=picked))
        nodes.append(helper.make_node("If", [picked], [after], name=after, **branches))
    return nodes, [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]


def _branch(nodes: Sequence[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", "K"])])


def gaussian_weight() -> onnx.FunctionProto:
    """Build the function mean + scale · ε with ε ~ N(0, I), drawn anew in each run."""
    ports = file_format.GAUSSIAN_WEIGHT_INPUTS, file_format.GAUSSIAN_WEIGHT_OUTPUTS
    return _function(file_format.GAUSSIAN_WEIGHT, *ports, file_format.GAUSSIAN_WEIGHT_BODY)


def pick_member() -> onnx.FunctionProto:
    """Build the function that picks one of some numbers at random, anew in each run."""
    ports = file_format.PICK_MEMBER_INPUTS, file_format.PICK_MEMBER_OUTPUTS
    return _function(file_format.PICK_MEMBER, *ports, file_format.PICK_MEMBER_BODY)


def _function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    body: Sequence[tuple[str, Sequence[str], Sequence[str]]],
) -> onnx.FunctionProto:
    nodes = [helper.make_node(*node) for node in body]
    opsets = [helper.make_opsetid("", file_format.OPSETS[""])]
    return helper.make_function(file_format.DOMAIN, name, inputs, outputs, nodes, opsets)


def stamp(graph: onnx.ModelProto, model: str, version: str, level: str) -> bytes:
    """Serialise a level's graph with metadata that identifies it, as in its manifest."""
    metadata = {"model": model, "version": version, "level": level, "manifest_schema": str(SCHEMA_VERSION)}
    helper.set_model_props(graph, {f"{file_format.METADATA_PREFIX}{key}": value for key, value in metadata.items()})
    return to_bytes(graph)


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise deterministically: equal models give equal bytes."""
    return bytes(model.SerializeToString(deterministic=True))


def _window(node: Convolution | MaxPool | AveragePool) -> dict[str, Any]:
    pads = node.pads if isinstance(node, Convolution) else node.padding * 2
    return {"strides": list(node.stride), "pads": list(pads)}


def _convolution(node: Convolution) -> dict[str, Any]:
    """Return a convolution's attributes; groups and dilation only where there are any."""
    attributes = _window(node)
    if node.groups > 1:
        attributes["group"] = node.groups
    if node.dilation != (1, 1):
        attributes["dilations"] = list(node.dilation)
    return attributes


class _Writer:
    """Collect the ONNX nodes and initializers for each node of a network, with a prefix before their names."""

    def __init__(self, network: ir.Network, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.dense: list[onnx.TensorProto] = []
        self.sparse: list[onnx.SparseTensorProto] = []
        self.output, self.vectors = network.output, network.vectors
        self._pixels(network)
        random = ir.random_tensors(network)
        # The part that all draws share comes first.
        for node in sorted(network.nodes, key=lambda node: node.name in random):
            self._write(node)

    def _pixels(self, network: ir.Network) -> None:
        pixels = network.pixels
        std = np.array(pixels.std, np.float32)
        self._constant("pixels.factor", np.float32(1 / 255) / std)
        self._constant("pixels.shift", -np.array(pixels.mean, np.float32) / std)
        self._node("Cast", [file_format.IMAGES], "pixels.float", to=TensorProto.FLOAT)
        self._node("Mul", ["pixels.float", "pixels.factor"], "pixels.scaled")
        self._node("Add", ["pixels.scaled", "pixels.shift"], "pixels.normalised")
        self._node("Transpose", ["pixels.normalised"], file_format.PIXELS, perm=[0, 3, 1, 2])

    def _write(self, node: Node) -> None:
        inputs = [file_format.PIXELS if name == file_format.IMAGES else name for name in sources(node)]
        match node:
            case Convolution():
                self._node("Conv", [*inputs, *self._parameters(node)], node.name, **_convolution(node))
            case Linear():
                self._node("Gemm", [*inputs, *self._parameters(node)], node.name, transB=1)
            case Normalisation():
                for part, values in (("factor", node.factor), ("shift", node.shift)):
                    beside = values if node.name in self.vectors else values[:, None, None]
                    self._constant(f"{node.name}.{part}", beside.numpy())
                self._node("Mul", [*inputs, f"{node.name}.factor"], f"{node.name}.scaled")
                self._node("Add", [f"{node.name}.scaled", f"{node.name}.shift"], node.name)
            case GroupNormalisation():
                inputs += self._affine(node)
                groups, epsilon = node.groups, node.epsilon
                self._node("GroupNormalization", inputs, node.name, num_groups=groups, epsilon=epsilon)
            case LayerNormalisation():
                self._layer_normalisation(node, inputs)
            case Activation(function="Silu"):
                self._node("Sigmoid", inputs, f"{node.name}.gate")
                self._node("Mul", [*inputs, f"{node.name}.gate"], node.name)
            case Activation():
                attributes: dict[str, Any] = dict(file_format.HARD_SIGMOID) if node.function == "HardSigmoid" else {}
                self._node(node.function, inputs, node.name, **attributes)
            case Clip():
                limits = {f"{node.name}.low": node.low, f"{node.name}.high": node.high}
                names = [self._constant(name, np.array(value)) for name, value in limits.items()]
                self._node("Clip", [*inputs, *names], node.name)
            case Multiply():
                self._node("Mul", inputs, node.name)
            case Concat():
                self._node("Concat", inputs, node.name, axis=1)
            case MaxPool():
                self._node("MaxPool", inputs, node.name, kernel_shape=list(node.kernel), **_window(node))
            case AveragePool():
                counts, kernel = int(node.count_padding), list(node.kernel)
                self._node(
                    "AveragePool", inputs, node.name, kernel_shape=kernel, count_include_pad=counts, **_window(node)
                )
            case Add() | GlobalAveragePool() | Flatten():  # called as in ONNX
                self._node(type(node).__name__, inputs, node.name)

    def _layer_normalisation(self, node: LayerNormalisation, inputs: list[str]) -> None:
        """Normalise the last axis, or the last three, of an image with its channels last where they are normalised."""
        affine = self._affine(node)
        attributes: dict[str, Any] = {"axis": -node.factor.dim(), "epsilon": node.epsilon}
        if node.factor.dim() > 1 or node.name in self.vectors:
            self._node("LayerNormalization", [*inputs, *affine], node.name, **attributes)
            return
        turned, normed = f"{node.name}.turned", f"{node.name}.normed"
        self._node("Transpose", inputs, turned, perm=[0, 2, 3, 1])
        self._node("LayerNormalization", [turned, *affine], normed, **attributes)
        self._node("Transpose", [normed], node.name, perm=[0, 3, 1, 2])

    def _affine(self, node: GroupNormalisation | LayerNormalisation) -> list[str]:
        parts = (("factor", node.factor), ("shift", node.shift))
        return [self._constant(f"{node.name}.{part}", values.numpy()) for part, values in parts]

    def _node(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> None:
        final = file_format.LOGITS if output == self.output else output
        read, made, name = [self._named(each) for each in inputs], self._named(final), self._named(output)
        self.nodes.append(helper.make_node(kind, read, [made], name=name, domain=domain, **attributes))

    def _named(self, name: str) -> str:
        return name if name == file_format.IMAGES else f"{self.prefix}{name}"

    def _parameters(self, node: Weighted) -> tuple[str, str]:
        """Write weight and bias, and return their names."""
        name, weight = f"{node.name}.weight", node.weight
        if (weight.scale > 0).any():
            parts = [self._values(f"{node.name}.mean", weight.mean), self._values(f"{node.name}.scale", weight.scale)]
            self._node(file_format.GAUSSIAN_WEIGHT, parts, name, domain=file_format.DOMAIN)
        else:
            self._values(name, weight.mean)
        return name, self._constant(f"{node.name}.bias", node.bias.numpy())

    def _constant(self, name: str, values: np.ndarray) -> str:
        self.dense.append(numpy_helper.from_array(np.asarray(values, np.float32, order="C"), self._named(name)))
        return name

    def _values(self, name: str, values: Tensor) -> str:
        flat = values.flatten().numpy()
        index = flat.nonzero()[0]
        if len(index) >= SPARSE_BELOW_DENSITY * len(flat):
            return self._constant(name, values.numpy())
        entries = numpy_helper.from_array(flat[index], self._named(name))
        places = numpy_helper.from_array(index.astype(np.int64), self._named(f"{name}.index"))
        self.sparse.append(helper.make_sparse_tensor(entries, places, list(values.shape)))
        return name
