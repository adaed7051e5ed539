"""A level's graph in two: what is the same for every draw runs once an image, the rest once a draw."""

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
        if random.intersection(node.input) or LOGITS in node.output:
            random.update(node.output)
            drawn.append(node)
        else:
            shared.append(node)
    floats = [node for node in shared if node.op_type == "DequantizeLinear"]
    drawn = [node for node in floats if node.output[0] in _read(drawn)] + drawn
    shared = [node for node in shared if node not in floats or node.output[0] in _read(shared)]
    integers = {name for node in shared if node.op_type == "QuantizeLinear" for name in node.output} | {IMAGES}
    made = {name for node in shared for name in node.output} | {IMAGES}
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


def with_constants(graph: onnx.ModelProto, constants: Mapping[str, npt.NDArray[np.generic]]) -> onnx.ModelProto:
    """The graph with more initializers, by name."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def side_by_side(graph: onnx.ModelProto, draws: list[Arrays]) -> onnx.ModelProto:
    """One graph with the network under each draw's weights, each with an output of its own, in their order."""
    own = {name for node in graph.graph.node for name in node.output} | draws[0].keys()
    values = {f"{name}@{n}": value for n, weights in enumerate(draws) for name, value in weights.items()}
    model = with_constants(graph, values)
    del model.graph.node[:], model.graph.output[:]
    for number in range(len(draws)):
        for part, copies in ((graph.graph.node, model.graph.node), (graph.graph.output, model.graph.output)):
            for each in part:
                copies.add().CopyFrom(each)
        for node in model.graph.node[-len(graph.graph.node) :]:
            node.name = f"{node.name}@{number}"
            node.input[:] = [f"{name}@{number}" if name in own else name for name in node.input]
            node.output[:] = [f"{name}@{number}" for name in node.output]
        model.graph.output[-1].name = f"{LOGITS}@{number}"
    return model
