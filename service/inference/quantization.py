"""Quantize a level's convolutions to eight bits, where its manifest gives the roundings of the tensors between them.

A tensor x becomes uint8, round(x / scale) + zero_point, followed by a DequantizeLinear, the pattern in which ONNX
Runtime recognises an integer convolution. A weight becomes int8 with one scale for each output channel, its largest
magnitude / 64; a bias int32 in steps of both scales (Jacob et al. 2018). Every draw is quantized by itself.

With weights up to 64 the sum of two products with uint8 fits sixteen bits, at which x86 processors without VNNI
saturate: so all processors compute the same sums, each in its fastest way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from model_store.onnx_file.format import MAX_INT8_WEIGHT, MAX_INT32_BIAS
from service.inference.artifact import Member
from service.inference.graph import with_constants
from service.types import Arrays, FloatArray


@dataclass(frozen=True)
class QuantizedConv:
    """A convolution to quantize: name and values of its bias, and the scale of its input."""

    bias: str
    values: FloatArray
    scale: np.float32

    def quantize(self, name: str, weight: FloatArray) -> Arrays:
        """Return weight float32 [out, …] and bias [out] as integers and their scales, by name."""
        scale_O = np.abs(weight.reshape(len(weight), -1)).max(1) / np.float32(MAX_INT8_WEIGHT)
        scale_O[scale_O == 0] = 1
        integers = np.rint(weight / scale_O.reshape(-1, *(1,) * (weight.ndim - 1)))
        step_O = scale_O * self.scale
        return {
            _integers(name): integers.astype(np.int8),
            _scale(name): scale_O,
            _integers(self.bias): np.rint(self.values / step_O).clip(-MAX_INT32_BIAS, MAX_INT32_BIAS).astype(np.int32),
            _scale(self.bias): step_O,
        }


@dataclass(frozen=True)
class QuantizedGraph:
    """A graph to run, which expects `names` as initializers; these differ from draw to draw.

    `layers` are the eight-bit convolutions with random weights, by the name of the weight.
    """

    graph: onnx.ModelProto
    names: frozenset[str]
    layers: Mapping[str, QuantizedConv] = field(default_factory=dict)

    def constants(self, weights: Mapping[str, FloatArray]) -> Arrays:
        """Return the initializers `names` for one draw of the random weights."""
        constants: Arrays = {}
        for name, weight in weights.items():
            constants |= self.layers[name].quantize(name, weight) if name in self.layers else {name: weight}
        return constants


def quantize(member: Member) -> QuantizedGraph:
    """Return the member's graph: in eight bits where it has roundings, else in float32."""
    random = {weight.name for weight in member.weights}
    if not member.roundings:
        return QuantizedGraph(member.graph, frozenset(random))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in member.graph.graph.initializer}
    layers = dict(_layers(member, values, random | values.keys()))
    fixed = {name: values.pop(name) for name in layers.keys() - random}
    biases = {layer.bias for layer in layers.values()}
    kept: Arrays = {name: value for name, value in values.items() if name not in biases}
    for name, weight in fixed.items():
        kept |= layers[name].quantize(name, weight)
    graph = onnx.ModelProto()
    graph.CopyFrom(member.graph)
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(_nodes(member, layers))
    for name, rounding in member.roundings.items():
        kept |= {
            _scale(name): np.array(rounding.scale, np.float32),
            _zero(name): np.array(rounding.zero_point, np.uint8),
        }
    drawn = {name: layers[name] for name in layers.keys() & random}
    names = {each for name in random for each in (_names(name, drawn[name]) if name in drawn else (name,))}
    return QuantizedGraph(with_constants(graph, kept), frozenset(names), drawn)


def _layers(
    member: Member, values: Mapping[str, np.ndarray], weights: Collection[str]
) -> Iterable[tuple[str, QuantizedConv]]:
    """Yield the convolutions whose input is rounded, by the name of their weight."""
    for node in member.graph.graph.node:
        if node.op_type != "Conv" or len(node.input) != 3:
            continue
        source, weight, bias = node.input
        if source in member.roundings and weight in weights and bias in values:
            yield weight, QuantizedConv(bias, values[bias], np.float32(member.roundings[source].scale))


def _nodes(member: Member, layers: Mapping[str, QuantizedConv]) -> Iterable[onnx.NodeProto]:
    """Yield the graph's nodes with QuantizeLinear and DequantizeLinear around the rounded tensors and weights."""
    for node in member.graph.graph.node:
        if node.op_type == "Conv" and node.input[1] in layers:
            for name in node.input[1:]:
                parts = [_integers(name), _scale(name)]
                yield helper.make_node("DequantizeLinear", parts, [name], name=f"{name}.floats", axis=0)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        (output,) = node.output
        if output not in member.roundings:
            yield copy
        else:
            copy.output[0], parts = f"{output}.exact", [_scale(output), _zero(output)]
            yield copy
            yield helper.make_node("QuantizeLinear", [copy.output[0], *parts], [_integers(output)], name=copy.output[0])
            yield helper.make_node("DequantizeLinear", [_integers(output), *parts], [output], name=f"{output}.floats")


def _names(weight: str, layer: QuantizedConv) -> tuple[str, ...]:
    return tuple(part(name) for name in (weight, layer.bias) for part in (_integers, _scale))


def _integers(name: str) -> str:
    return f"{name}.integers"


def _scale(name: str) -> str:
    return f"{name}.scale"


def _zero(name: str) -> str:
    return f"{name}.zero"
