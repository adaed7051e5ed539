"""ONNX graph passes: split off the deterministic prefix, add constants, place several draws side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.onnx_file.format import IMAGES, LOGITS
from service.types import Arrays


@dataclass(frozen=True)
class Split:
    """Two parts of a graph: `prefix` runs once an image, `drawn` once a draw.

    `prefix` maps `images` to the tensors `boundary`; `drawn` maps those and the random weights to `logits`.
    """

    prefix: onnx.ModelProto
    drawn: onnx.ModelProto
    boundary: tuple[str, ...]


def split(model: onnx.ModelProto, names: Collection[str]) -> Split:
    """Split a graph before the first nodes that depend on the random initializers `names`.

    The last node always belongs to the drawn part. Integer tensors cross the boundary as integers.
    """
    graph, random = model.graph, set(names)
    prefix, drawn = [], list[onnx.NodeProto]()
    for node in graph.node:
        if random.intersection(node.input) or LOGITS in node.output:
            random.update(node.output)
            drawn.append(node)
        else:
            prefix.append(node)
    dequantize = [node for node in prefix if node.op_type == "DequantizeLinear"]
    drawn = [node for node in dequantize if node.output[0] in _inputs(drawn)] + drawn
    prefix = [node for node in prefix if node not in dequantize or node.output[0] in _inputs(prefix)]
    integers = {name for node in prefix if node.op_type == "QuantizeLinear" for name in node.output} | {IMAGES}
    computed = {name for node in prefix for name in node.output} | {IMAGES}
    boundary = tuple(sorted((_inputs(drawn) - {name for node in drawn for name in node.output}) & computed))
    kinds = dict.fromkeys(integers, TensorProto.UINT8)
    ports = [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in boundary]
    return Split(_model(model, prefix, graph.input, ports), _model(model, drawn, ports, graph.output), boundary)


def _inputs(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}


def _model(
    template: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    needed = _inputs(nodes)
    model = onnx.ModelProto()
    model.CopyFrom(template)
    model.graph.Clear()
    model.graph.name = template.graph.name
    model.graph.node.extend(nodes)
    model.graph.input.extend(inputs)
    model.graph.output.extend(outputs)
    model.graph.initializer.extend(tensor for tensor in template.graph.initializer if tensor.name in needed)
    return model


def with_constants(graph: onnx.ModelProto, constants: Mapping[str, npt.NDArray[np.generic]]) -> onnx.ModelProto:
    """Return a copy of the graph with more initializers, by name."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def side_by_side(graph: onnx.ModelProto, draws: list[Arrays]) -> onnx.ModelProto:
    """Build one graph that holds the network once for each draw's weights; its outputs are in the draws' order."""
    own = {name for node in graph.graph.node for name in node.output} | draws[0].keys()
    values = {f"{name}@{n}": value for n, weights in enumerate(draws) for name, value in weights.items()}
    model = with_constants(graph, values)
    del model.graph.node[:], model.graph.output[:]
    for number in range(len(draws)):
        model.graph.node.extend(graph.graph.node)
        model.graph.output.extend(graph.graph.output)
        for node in model.graph.node[-len(graph.graph.node) :]:
            node.name = f"{node.name}@{number}"
            node.input[:] = [f"{name}@{number}" if name in own else name for name in node.input]
            node.output[:] = [f"{name}@{number}" for name in node.output]
        model.graph.output[-1].name = f"{LOGITS}@{number}"
    return model
