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
from model_store.onnx_file.format import DOMAIN, GAUSSIAN_WEIGHT, HARD_SIGMOID
from model_store.onnx_file.tensors import FLOAT_BYTES

# The largest side of an image, in pixels; and the largest number that is added to a variance.
MAX_STRIDE, MAX_EPSILON = 4_096, 1.0
NORMALISATIONS = ("GroupNormalization", "LayerNormalization")
Shape = tuple[int, ...]
AttributeValue = int | float | tuple[int, ...]
Attributes = Mapping[str, AttributeValue]
# Kinds of attributes: an integer, a number, or so many integers.
INTEGER, NUMBER = "an integer", "a number"


@dataclass(frozen=True)
class Operand:
    """A tensor that a node reads or makes."""

    kind: Literal["images", "activation", "constant", "drawn"]
    shape: Shape


@dataclass(frozen=True)
class Operator:
    """Kinds of the inputs, of the attributes by name, and the rule for the shape.

    An attribute is an integer, a number, or a tuple of so many integers. The last kind of inputs is that of `more` of
    them; of the attributes those in `optional` may be absent, where they would have no effect.
    """

    inputs: tuple[tuple[str, ...], ...]
    attributes: Mapping[str, int | str]
    shape: Callable[[list[Shape], Attributes], Shape]
    more: bool = False
    optional: frozenset[str] = frozenset()

    def takes(self, kinds: Sequence[str]) -> bool:
        """Return whether inputs of these kinds are allowed."""
        allowed = self.inputs
        if self.more:
            allowed += (self.inputs[-1],) * (len(kinds) - len(allowed))
        return len(kinds) == len(allowed) and all(map(tuple.__contains__, allowed, kinds))

    def has(self, attributes: Attributes) -> bool:
        """Return whether the attributes are those that there must or may be, each of its kind."""
        kinds = {name: _kind(value) for name, value in attributes.items()}
        expected = {name: kind for name, kind in self.attributes.items() if name in kinds or name not in self.optional}
        return kinds == expected


def _kind(value: AttributeValue) -> int | str:
    if isinstance(value, tuple):
        return len(value)
    return INTEGER if isinstance(value, int) else NUMBER


def _cast(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(attributes["to"] == 1, "a Cast to another type than float32")
    return shapes[0]


def _transpose(shapes: list[Shape], attributes: Attributes) -> Shape:
    perm = attributes["perm"]
    known = perm in ((0, 3, 1, 2), (0, 2, 3, 1)) and len(shapes[0]) == 3
    _require(known, "a Transpose other than from NHWC to NCHW and back")
    first, second, third = shapes[0]
    return (third, first, second) if perm == (0, 3, 1, 2) else (second, third, first)


def _same(shapes: list[Shape], attributes: Attributes) -> Shape:
    return shapes[0]


def _add(shapes: list[Shape], attributes: Attributes) -> Shape:
    """Broadcast the second operand, a constant, over the first, or add equal shapes."""
    image, other = shapes
    pairs = zip(reversed(image), reversed(other), strict=False)
    _require(len(other) <= len(image) and all(b in (1, a) for a, b in pairs), "an Add or Mul of shapes that do not fit")
    return image


def _concatenate(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(attributes["axis"] == 1 and len(shapes) > 1, "a Concat of other than two or more tensors' channels")
    first = shapes[0]
    _require(all(shape[1:] == first[1:] for shape in shapes), "a Concat of shapes that do not fit")
    return sum(shape[0] for shape in shapes), *first[1:]


def _clip(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(shapes[1:] == [(), ()], "a Clip between other than two numbers")
    return shapes[0]


def _hard_sigmoid(shapes: list[Shape], attributes: Attributes) -> Shape:
    _require(attributes == HARD_SIGMOID, "a HardSigmoid other than max(0, min(1, x / 6 + 0.5))")
    return shapes[0]


def _normalise_groups(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, *parts = shapes
    groups = _integer(attributes, "num_groups")
    _require(len(image) == 3 and parts == [image[:1]] * 2, "a GroupNormalization whose image and factors do not fit")
    _require(groups > 0 and image[0] % groups == 0, "a GroupNormalization in groups that do not fit")
    _check_epsilon(attributes)
    return image


def _normalise_layer(shapes: list[Shape], attributes: Attributes) -> Shape:
    """Normalise the last axis, or all three of an image."""
    image, *parts = shapes
    axes = -_integer(attributes, "axis")
    fits = axes in (1, 3) and axes <= len(image) and parts == [image[-axes:]] * 2
    _require(fits, "a LayerNormalization whose axes and factors do not fit")
    _check_epsilon(attributes)
    return image


def _check_epsilon(attributes: Attributes) -> None:
    epsilon = attributes["epsilon"]
    _require(isinstance(epsilon, float) and 0 < epsilon <= MAX_EPSILON, "a normalisation with an invalid epsilon")


def _convolve(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, weight, bias = shapes
    groups, dilations = _integer(attributes, "group", 1), _numbers(attributes, "dilations", (1, 1))
    _require("group" not in attributes or groups > 1, "a Conv with an invalid group")
    _require("dilations" not in attributes or dilations != (1, 1), "a Conv with dilations of one")
    _require(all(0 < apart <= MAX_STRIDE for apart in dilations), "a Conv with invalid dilations")
    fits = len(image) == 3 and len(weight) == 4 and image[0] == groups * weight[1] and bias == weight[:1]
    _require(fits and weight[0] % groups == 0, "a Conv whose image, weight and bias do not fit")
    reach = tuple(apart * (side - 1) + 1 for apart, side in zip(dilations, weight[2:], strict=True))
    return weight[0], *_slide(image[1:], reach, attributes, "Conv")


def _pool(shapes: list[Shape], attributes: Attributes) -> Shape:
    image, kernel, pads = shapes[0], _numbers(attributes, "kernel_shape"), _numbers(attributes, "pads")
    _require(len(image) == 3 and all(size > 0 for size in kernel), "a pool with an invalid kernel")
    _require(all(pad < kernel[side % 2] for side, pad in enumerate(pads)), "a pool with invalid pads")
    return image[0], *_slide(image[1:], kernel, attributes, "pool")


def _average_pool(shapes: list[Shape], attributes: Attributes) -> Shape:
    counts, pads = _integer(attributes, "count_include_pad"), _numbers(attributes, "pads")
    _require(counts in ((0, 1) if any(pads) else (0,)), "an AveragePool that counts pads which it does not have")
    return _pool(shapes, attributes)


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
SLIDE: Mapping[str, int | str] = {"strides": 2, "pads": 4}
GROUPS: Mapping[str, int | str] = {"group": INTEGER, "dilations": 2}
POOL = {**SLIDE, "kernel_shape": 2}
OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", "Cast"): Operator((("images",),), {"to": INTEGER}, _cast),
    ("", "Transpose"): Operator((IMAGE,), {"perm": 4}, _transpose),
    ("", "Mul"): Operator((IMAGE, ANY), {}, _add),
    ("", "Add"): Operator((IMAGE, ANY), {}, _add),
    ("", "Concat"): Operator((IMAGE,), {"axis": INTEGER}, _concatenate, more=True),
    ("", "Conv"): Operator((IMAGE, WEIGHT, CONSTANT), {**SLIDE, **GROUPS}, _convolve, optional=frozenset(GROUPS)),
    **{("", name): Operator((IMAGE,), {}, _same) for name in ("Relu", "Sigmoid", "HardSwish", "Gelu")},
    ("", "HardSigmoid"): Operator((IMAGE,), dict.fromkeys(HARD_SIGMOID, NUMBER), _hard_sigmoid),
    ("", "Clip"): Operator((IMAGE, CONSTANT, CONSTANT), {}, _clip),
    ("", "GroupNormalization"): Operator(
        (IMAGE, CONSTANT, CONSTANT), {"num_groups": INTEGER, "epsilon": NUMBER}, _normalise_groups
    ),
    ("", "LayerNormalization"): Operator(
        (IMAGE, CONSTANT, CONSTANT), {"axis": INTEGER, "epsilon": NUMBER}, _normalise_layer
    ),
    ("", "MaxPool"): Operator((IMAGE,), POOL, _pool),
    ("", "AveragePool"): Operator((IMAGE,), {**POOL, "count_include_pad": INTEGER}, _average_pool),
    ("", "GlobalAveragePool"): Operator((IMAGE,), {}, _average),
    ("", "Flatten"): Operator((IMAGE,), {}, _flatten),
    ("", "Gemm"): Operator((IMAGE, WEIGHT, CONSTANT), {"transB": INTEGER}, _multiply),
    (DOMAIN, GAUSSIAN_WEIGHT): Operator((CONSTANT, CONSTANT), {}, _draw),
}
# Operations of an element, for operators that take more than one, and arrays of the output's size that they work with.
ELEMENT_OPERATIONS = {"Sigmoid": 8, "Gelu": 16, "HardSwish": 4, "HardSigmoid": 4} | dict.fromkeys(NORMALISATIONS, 8)
WORKING_ARRAYS = {"HardSwish": 1, "Gelu": 1, "GroupNormalization": 2, "LayerNormalization": 1}


def operate(domain: str, name: str, operands: Sequence[Operand], attributes: Attributes) -> Operand:
    """Return the output of an operator; raise VerificationError for inputs or attributes that no level needs."""
    operator = OPERATORS.get((domain, name))
    if operator is None:
        raise VerificationError(f"the file uses the operator {domain or 'onnx'}.{name}, which no level needs")
    _require(operator.takes([operand.kind for operand in operands]), f"a {name} with invalid inputs")
    _require(
        operator.has(attributes), f"a {name} with attributes other than {', '.join(operator.attributes) or 'none'}"
    )
    shapes = [operand.shape for operand in operands]
    if name in ("Add", "Mul") and operands[1].kind == "activation":
        gates = name == "Mul" and len(shapes[0]) == 3 and shapes[1] == (shapes[0][0], 1, 1)
        _require(shapes[0] == shapes[1] or gates, "an Add or Mul of shapes that do not fit")
    return Operand("drawn" if name == GAUSSIAN_WEIGHT else "activation", operator.shape(shapes, attributes))


def multiply_adds(name: str, operands: Sequence[Operand], made: Operand) -> int:
    """Return the multiply-adds of a node for one image."""
    if name == "Conv":
        return prod(made.shape[1:]) * prod(operands[1].shape)
    return prod(operands[1].shape) if name == "Gemm" else 0


def operations(name: str, operands: Sequence[Operand], made: Operand, attributes: Attributes) -> int:
    """Return the operations of a node for one image: its multiply-adds, or the elements that it reads and makes."""
    window = prod(_numbers(attributes, "kernel_shape")) if name in ("MaxPool", "AveragePool") else 1
    read = sum(prod(operand.shape) for operand in operands if operand.kind in ("images", "activation"))
    each = ELEMENT_OPERATIONS.get(name, window)
    return multiply_adds(name, operands, made) + read + each * prod(made.shape)


def working_bytes(name: str, made: Operand) -> int:
    """Return the memory that an operator takes for a while beside what it reads and makes, for one image."""
    return FLOAT_BYTES * WORKING_ARRAYS.get(name, 0) * prod(made.shape)


def _numbers(attributes: Attributes, name: str, default: Shape | None = None) -> Shape:
    value = attributes.get(name, default)
    assert isinstance(value, tuple)
    return value


def _integer(attributes: Attributes, name: str, default: int | None = None) -> int:
    value = attributes.get(name, default)
    assert isinstance(value, int)
    return value


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise VerificationError(f"the file has {what}")
