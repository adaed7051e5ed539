"""A level's graph in two: what is the same for every draw runs once an image, the rest once a draw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper


@dataclass(frozen=True)
class Split:
    """`shared` takes `images` and gives `boundary`; `drawn` takes `boundary` and the random weights, gives `logits`."""

    shared: onnx.ModelProto
    drawn: onnx.ModelProto
    boundary: tuple[str, ...]


def split(model: onnx.ModelProto, names: Collection[str]) -> Split:
    """Divide a graph before the first node that one of the random initializers `names` reaches.

    The last node is always a drawn one. Tensors of integers cross as such.
    """
    graph, random = model.graph, set(names)
    shared, drawn = [], list[onnx.NodeProto]()
    for node in graph.node:
        if random.intersection(node.input) or "logits" in node.output:
            random.update(node.output)
            drawn.append(node)
        else:
            shared.append(node)
    floats = [node for node in shared if node.op_type == "DequantizeLinear"]
    drawn = [node for node in floats if node.output[0] in _read(drawn)] + drawn
    shared = [node for node in shared if node not in floats or node.output[0] in _read(shared)]
    integers = {name for node in shared if node.op_type == "QuantizeLinear" for name in node.output} | {"images"}
    made = {name for node in shared for name in node.output} | {"images"}
    boundary = tuple(sorted((_read(drawn) - {name for node in drawn for name in node.output}) & made))
    kinds = dict.fromkeys(integers, TensorProto.UINT8)
    ports = [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in boundary]
    return Split(_model(model, shared, graph.input, ports), _model(model, drawn, ports, graph.output), boundary)


def _read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}


def _model(
    like: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    needed = _read(nodes)
    model = onnx.ModelProto()
    model.CopyFrom(like)
    model.graph.Clear()
    model.graph.name = like.graph.name
    model.graph.node.extend(nodes)
    model.graph.input.extend(inputs)
    model.graph.output.extend(outputs)
    model.graph.initializer.extend(tensor for tensor in like.graph.initializer if tensor.name in needed)
    return model
