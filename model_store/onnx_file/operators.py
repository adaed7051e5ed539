"""Check the operators of a level's file: their inputs and attributes, and the shapes that they make.

Shapes omit the number of images N. A tensor is an `activation` where it depends on the images, a `constant` where it is
in the file, and `drawn` where it is a random weight. Every rule is that of ONNX, opset 21, narrowed to what exporters
write; each raises VerificationError for anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from model_store.errors import VerificationError
from model_store.onnx_file.format import DOMAIN, GAUSSIAN_WEIGHT

# The largest side of an image, in pixels.
MAX_STRIDE = 4_096
Shape = tuple[int, ...]
Attributes = Mapping[str, int | tuple[int, ...]]


@dataclass(frozen=True)
class Operand:
    """A tensor that a node reads or makes."""

    kind: Literal["images", "activation", "constant", "drawn"]
    shape: Shape


@dataclass(frozen=True)
class Operator:
    """Kinds of the inputs, lengths of the attributes by name (0 for a single number), and the rule for the shape."""

    inputs: tuple[tuple[str, ...], ...]
    attributes: Mapping[str, int]
    shape: Callable[[list[Shape], Attributes], Shape]


def _cast(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(attributes["to"] == 1, "a Cast to another type than float32")
    return shapes[0]


def _transpose(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(attributes["perm"] == (0, 3, 1, 2) and len(shapes[0]) == 3, "a Transpose other than from NHWC to NCHW")
    height, width, channels = shapes[0]
    return channels, height, width


def _same(shapes: list[Shape], attributes: Attributes) -> Shape:
    return shapes[0]


def _broadcast(shapes: list[Shape], attributes: Attributes) -> Shape:
    """Broadcast the second operand, a constant, over the first, or add equal shapes."""
    image, other = shapes
    pairs = zip(reversed(image), reversed(other), strict=False)
    _require(len(other) <= len(image) and all(b in (1, a) for a, b in pairs), "an Add or Mul of shapes that do not fit")
    return image


def _convolve(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, weight, bias = shapes
    fits = len(image) == 3 and len(weight) == 4 and image[0] == weight[1] and bias == weight[:1]
    _require(fits, "a Conv whose image, weight and bias do not fit")
    return weight[0], *_slide(image[1:], weight[2:], attributes, "Conv")


def _pool(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, kernel, pads = shapes[0], _numbers(attributes, "kernel_shape"), _numbers(attributes, "pads")
    _require(len(image) == 3 and all(size > 0 for size in kernel), "a MaxPool with an invalid kernel")
    _require(all(pad < kernel[side % 2] for side, pad in enumerate(pads)), "a MaxPool with invalid pads")
    return image[0], *_slide(image[1:], kernel, attributes, "MaxPool")


def _slide(image: Shape, kernel: Shape, attributes: Attributes, what: str) -> Shape:
    """Return the positions of a kernel over an image, each [height, width]."""
    strides, pads = _numbers(attributes, "strides"), _numbers(attributes, "pads")
    widest = [max(image[side], kernel[side]) for side in (0, 1)]
    _require(all(0 <= pad <= widest[side % 2] for side, pad in enumerate(pads)), f"a {what} with invalid pads")
    room = [image[side] + pads[side] + pads[side + 2] - kernel[side] for side in (0, 1)]
    _require(all(left >= 0 for left in room), f"a {what} whose kernel is larger than its image")
    _require(all(0 < stride <= MAX_STRIDE for stride in strides), f"a {what} with invalid strides")
    return tuple(left // stride + 1 for left, stride in zip(room, strides, strict=True))


def _average(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(len(shapes[0]) == 3, "a GlobalAveragePool of another tensor than images")
    return shapes[0][0], 1, 1


def _flatten(shapes: list[Shape], attributes: Attributes) -> Shape:
    return (prod(shapes[0]),)


def _multiply(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, weight, bias = shapes
    fits = len(image) == 1 and len(weight) == 2 and image[0] == weight[1] and bias == weight[:1]
    _require(fits and attributes["transB"] == 1, "a Gemm whose features, weight and bias do not fit")
    return bias


def _draw(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(shapes[0] == shapes[1], "a random weight whose mean and scale differ in shape")
    return shapes[0]


IMAGE, ANY, WEIGHT, CONSTANT = ("activation",), ("activation", "constant"), ("constant", "drawn"), ("constant",)
SLIDE = {"strides": 2, "pads": 4}
OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", "Cast"): Operator((("images",),), {"to": 0}, _cast),
    ("", "Transpose"): Operator((IMAGE,), {"perm": 4}, _transpose),
    ("", "Mul"): Operator((IMAGE, CONSTANT), {}, _broadcast),
    ("", "Add"): Operator((IMAGE, ANY), {}, _broadcast),
    ("", "Conv"): Operator((IMAGE, WEIGHT, CONSTANT), SLIDE, _convolve),
    ("", "Relu"): Operator((IMAGE,), {}, _same),
    ("", "MaxPool"): Operator((IMAGE,), SLIDE | {"kernel_shape": 2}, _pool),
    ("", "GlobalAveragePool"): Operator((IMAGE,), {}, _average),
    ("", "Flatten"): Operator((IMAGE,), {}, _flatten),
    ("", "Gemm"): Operator((IMAGE, WEIGHT, CONSTANT), {"transB": 0}, _multiply),
    (DOMAIN, GAUSSIAN_WEIGHT): Operator((CONSTANT, CONSTANT), {}, _draw),
}


def operate(domain: str, name: str, operands: Sequence[Operand], attributes: Attributes) -> Operand:
    """Return the output of an operator; raise VerificationError for inputs or attributes that no level needs."""
    operator = OPERATORS.get((domain, name))
    if operator is None:
        raise VerificationError(f"the file uses the operator {domain or 'onnx'}.{name}, which no level needs")
    kinds = [operand.kind for operand in operands]
    fit = len(kinds) == len(operator.inputs) and all(map(tuple.__contains__, operator.inputs, kinds))
    _require(fit, f"a {name} with invalid inputs")
    sizes = {key: len(value) if isinstance(value, tuple) else 0 for key, value in attributes.items()}
    _require(
        sizes == operator.attributes, f"a {name} with attributes other than {', '.join(operator.attributes) or 'none'}"
    )
    shapes = [operand.shape for operand in operands]
    if shapes[1:] and operands[1].kind == "activation":
        _require(shapes[0] == shapes[1], "an Add or Mul of shapes that do not fit")
    return Operand("drawn" if name == GAUSSIAN_WEIGHT else "activation", operator.shape(shapes, attributes))


def multiply_adds(name: str, operands: Sequence[Operand], made: Operand) -> int:
    """Return the multiply-adds of a node for one image."""
    if name == "Conv":
        return prod(made.shape[1:]) * prod(operands[1].shape)
    return prod(operands[1].shape) if name == "Gemm" else 0


def operations(name: str, operands: Sequence[Operand], made: Operand, attributes: Attributes) -> int:
    """Return the operations of a node for one image: its multiply-adds, or the elements that it reads and makes."""
    window = prod(_numbers(attributes, "kernel_shape")) if name == "MaxPool" else 1
    read = sum(prod(operand.shape) for operand in operands if operand.kind in ("images", "activation"))
    return multiply_adds(name, operands, made) + read + window * prod(made.shape)


def _numbers(attributes: Attributes, name: str) -> Shape:
    value = attributes[name]
    assert isinstance(value, tuple)
    return value


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise VerificationError(f"the file has {what}")
