"""Convert activations, sums, products and concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from pruning.graph.nodes import Activation, Add, Clip, Concat, Multiply
from pruning.graph.tracing.call import CHANNEL_AXIS, PIXEL_AXES, Call, Value

LARGEST = torch.finfo(torch.float32).max


def activation(function: str) -> Callable[[Call], Value]:
    """Return the converter of a module, function or method that computes `function` of each element."""

    def convert(call: Call) -> Value:
        if call.target is None:
            call.arguments(inplace=False)
        return _activation(call, function)

    return convert


def gelu(call: Call) -> Value:
    """Convert GELU, but for its approximation by tanh."""
    given = call.target or call.arguments(approximate="none")
    if given.approximate != "none":
        raise call.error(f"GELU with approximate={given.approximate!r} cannot be exported, only the exact one")
    return _activation(call, "Gelu")


def _activation(call: Call, function: str) -> Value:
    value = call.value()
    return call.add(Activation(call.node.name, value.name, function), value.layout)


def relu6(call: Call) -> Value:
    """Convert ReLU6, min(max(x, 0), 6)."""
    if call.target is None:
        call.arguments(inplace=False)
    return _clip(call, 0.0, 6.0)


def hardtanh(call: Call) -> Value:
    """Convert Hardtanh, which clips."""
    given = call.target or call.arguments(min_val=-1.0, max_val=1.0, inplace=False)
    return _clip(call, given.min_val, given.max_val)


def clamp(call: Call) -> Value:
    """Convert clamping to numbers, on one side or both."""
    given = call.arguments(min=None, max=None)
    if given.min == 0 and given.max is None:
        return _activation(call, "Relu")
    return _clip(call, -LARGEST if given.min is None else given.min, LARGEST if given.max is None else given.max)


def _clip(call: Call, low: Any, high: Any) -> Value:
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low <= high:
        raise call.error("clipping must be between two numbers")
    value = call.value()
    return call.add(Clip(call.node.name, value.name, float(low), float(high)), value.layout)


def add(call: Call) -> Value:
    """Convert the sum of two tensors of one shape."""
    left, right = _terms(call)
    one, other = call.value(left), call.value(right)
    if call.shape_of(left) != call.shape_of(right) or one.layout != other.layout:
        raise call.error("only tensors of one shape can be added")
    return call.add(Add(call.node.name, one.name, other.name), one.layout)


def multiply(call: Call) -> Value:
    """Convert the product of two tensors of one shape, or of an image and a gate of one pixel for each channel."""
    left, right = _terms(call)
    one, other = call.value(left, expanded=True), call.value(right, expanded=True)
    if one.layout == other.layout:
        if call.shape_of(left) == call.shape_of(right) and not one.expanded and not other.expanded:
            return call.add(Multiply(call.node.name, one.name, other.name), one.layout)
        for (image, image_call), (gate, gate_call) in (((one, left), (other, right)), ((other, right), (one, left))):
            if not image.expanded and call.shape_of(image_call) == call.shape and _is_gate(call, gate, gate_call):
                return call.add(Multiply(call.node.name, image.name, gate.name), image.layout)
    raise call.error("only tensors of one shape can be multiplied, or images by a gate [N, C, 1, 1]")


def _is_gate(call: Call, value: Value, read: fx.Node) -> bool:
    """Return whether a tensor has one pixel for each channel of the result."""
    shape, made, axis = call.shape_of(read), call.shape, CHANNEL_AXIS[value.layout]
    if shape[axis] != made[axis]:
        return False
    return value.expanded or all(shape[each] == 1 for each in PIXEL_AXES[value.layout])


def _terms(call: Call) -> tuple[fx.Node, fx.Node]:
    """Return the calls that made the two tensors that this one reads."""
    named = call.node.kwargs
    if unknown := sorted(named.keys() - {"input", "other"}):
        raise call.error(f"cannot export a call with named arguments: {', '.join(unknown)}")
    return call.read, call.tensor_argument((*call.node.args, *named.values())[-1])


def concat(call: Call) -> Value:
    """Convert the concatenation of channels."""
    tensors = call.node.args[0] if call.node.args else call.node.kwargs.get("tensors")
    if not isinstance(tensors, list | tuple):
        raise call.error("expected a list of tensors")
    read = [call.tensor_argument(each) for each in tensors]
    values = [call.value(each) for each in read]
    named = call.node.kwargs
    dim: Any = call.node.args[1] if len(call.node.args) > 1 else named.get("dim", named.get("axis", 0))
    layout = values[0].layout
    if any(each.layout != layout for each in values) or dim % len(call.shape) != CHANNEL_AXIS[layout]:
        raise call.error("only channels can be concatenated")
    if len(values) == 1:
        return values[0]
    first, *others = (each.name for each in values)
    return call.add(Concat(call.node.name, first, tuple(others)), layout)
