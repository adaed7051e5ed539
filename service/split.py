"""A level's graph in two: what is the same for every draw runs once an image, the rest once a draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from service.artifact import Artifact


@dataclass(frozen=True)
class Split:
    """`shared` takes `images` and gives `boundary`; `drawn` takes `boundary` and the random weights, gives `logits`."""

    shared: onnx.ModelProto
    drawn: onnx.ModelProto
    boundary: tuple[str, ...]


def split(artifact: Artifact) -> Split:
    """Divide a graph before the first node that a random weight reaches; the last node is always a drawn one."""
    graph = artifact.graph.graph
    random = {weight.name for weight in artifact.weights}
    shared, drawn = [], []
    for node in graph.node:
        if random.intersection(node.input) or "logits" in node.output:
            random.update(node.output)
            drawn.append(node)
        else:
            shared.append(node)
    made = {name for node in shared for name in node.output} | {"images"}
    boundary = tuple(sorted({name for node in drawn for name in node.input} & made))
    kinds = {"images": TensorProto.UINT8}
    ports = [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in boundary]
    return Split(
        _model(artifact.graph, shared, graph.input, ports), _model(artifact.graph, drawn, ports, graph.output), boundary
    )


def _model(
    like: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    needed = {name for node in nodes for name in node.input}
    model = onnx.ModelProto()
    model.CopyFrom(like)
    model.graph.Clear()
    model.graph.name = like.graph.name
    model.graph.node.extend(nodes)
    model.graph.input.extend(inputs)
    model.graph.output.extend(outputs)
    model.graph.initializer.extend(tensor for tensor in like.graph.initializer if tensor.name in needed)
    return model
