"""Shapes of what operators make: as onnx infers them, and never of what no level asks for."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model_store.errors import VerificationError
from model_store.onnx_file.format import HARD_SIGMOID
from model_store.onnx_file.operators import Attributes, Operand, multiply_adds, operate, operations, working_bytes

sizes = st.integers(1, 20)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


def inferred(operation: str, attributes: Attributes, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that onnx infers; the first is without its two images."""
    names = [f"in{number}" for number in range(len(shapes))]
    given_shapes = [(2, *shapes[0]), *shapes[1:]]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, given_shapes, strict=True)]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node(operation, names, ["out"], **_plain(attributes))], "g", inputs, [output]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    shape = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output[0].type.tensor_type
    images, *rest = (dim.dim_value for dim in shape.shape.dim)
    assert images == 2
    return tuple(rest)


def _plain(attributes: Attributes) -> dict[str, Any]:
    return dict(attributes)


EPSILON = {"epsilon": 1e-5}
POOL: Attributes = {"strides": (2, 2), "pads": (1, 1, 1, 1), "kernel_shape": (3, 3)}
SLIDE: Attributes = {"strides": (1, 1), "pads": (0, 0, 0, 0)}


def ours(operation: str, attributes: Attributes, *shapes: tuple[int, ...]) -> Operand:
    """What our rule says."""
    first, *others = shapes
    operands = [Operand("activation", first), *(Operand("constant", shape) for shape in others)]
    return operate("", operation, operands, attributes)


@settings(deadline=None)
@given(st.tuples(sizes, sizes, sizes), sizes, pairs, pairs, st.tuples(*[st.integers(0, 3)] * 4))
def test_convolutions_and_pools(
    image: tuple[int, int, int], out: int, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...]
) -> None:
    """As onnx infers, or refused where a kernel does not fit, or pads or strides make no sense."""
    attributes: Attributes = {"strides": strides, "pads": pads}
    weight = (out, image[0], *kernel)
    sensible = all(pad <= max(kernel[side % 2], image[1 + side % 2]) for side, pad in enumerate(pads)) and all(
        kernel[side] <= image[1 + side] + pads[side] + pads[side + 2] for side in (0, 1)
    )
    if not sensible:
        with pytest.raises(VerificationError):
            ours("Conv", attributes, image, weight, (out,))
        return
    made = ours("Conv", attributes, image, weight, (out,))
    assert made.shape == inferred("Conv", attributes, image, weight, (out,))
    operands = [Operand("activation", image), Operand("constant", weight), Operand("constant", (out,))]
    expected = out * image[0] * kernel[0] * kernel[1] * made.shape[1] * made.shape[2]
    assert multiply_adds("Conv", operands, made) == expected
    pooled = attributes | {"kernel_shape": kernel}  # type: ignore[operator]
    if any(pad >= kernel[side % 2] for side, pad in enumerate(pads)):
        with pytest.raises(VerificationError, match="invalid pads"):
            ours("MaxPool", pooled, image)
        return
    assert ours("MaxPool", pooled, image).shape == inferred("MaxPool", pooled, image)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), pairs, pairs)
def test_groups_and_dilations(
    groups: int, columns: int, copies: int, kernel: tuple[int, int], dilations: tuple[int, int]
) -> None:
    """As onnx infers; written only where they are not one."""
    image, weight = (groups * columns, 16, 17), (groups * copies, columns, *kernel)
    attributes: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 0, 1)}
    attributes |= {"group": groups} if groups > 1 else {}
    attributes |= {"dilations": dilations} if dilations != (1, 1) else {}
    bias = weight[:1]
    made = ours("Conv", attributes, image, weight, bias)
    assert made.shape == inferred("Conv", attributes, image, weight, bias)
    operands = [Operand("activation", image), Operand("constant", weight), Operand("constant", bias)]
    expected = columns * weight[0] * kernel[0] * kernel[1] * made.shape[1] * made.shape[2]
    assert multiply_adds("Conv", operands, made) == expected


@settings(deadline=None)
@given(st.tuples(sizes, sizes, sizes), sizes)
def test_all_others(image: tuple[int, int, int], classes: int) -> None:
    """On shapes that fit."""
    channels, features = image[0], image[0] * image[1] * image[2]
    for operation, shapes in {
        "Relu": (image,),
        "Sigmoid": (image,),
        "HardSwish": (image,),
        "Gelu": (image,),
        "Clip": (image, (), ()),
        "GlobalAveragePool": (image,),
        "Flatten": (image,),
        "Mul": (image, (channels, 1, 1)),
        "Add": (image, (image[2],)),
    }.items():
        assert ours(operation, {}, *shapes).shape == inferred(operation, {}, *shapes)
    head = ((features,), (classes, features), (classes,))
    assert ours("Gemm", {"transB": 1}, *head).shape == inferred("Gemm", {"transB": 1}, *head)
    for perm in ((0, 3, 1, 2), (0, 2, 3, 1)):
        assert ours("Transpose", {"perm": perm}, image).shape == inferred("Transpose", {"perm": perm}, image)
    with_attributes: list[tuple[str, Attributes, tuple[tuple[int, ...], ...]]] = [
        ("HardSigmoid", HARD_SIGMOID, (image,)),
        ("AveragePool", {**POOL, "count_include_pad": 1}, (image,)),
    ]
    for operation, attributes, operands in with_attributes:
        assert ours(operation, attributes, *operands).shape == inferred(operation, attributes, *operands)
    groups, layer = EPSILON | {"num_groups": channels}, EPSILON | {"axis": -1}
    assert ours("GroupNormalization", groups, image, (channels,), (channels,)).shape == image
    assert ours("LayerNormalization", layer, image, image[2:], image[2:]).shape == image
    assert ours("LayerNormalization", EPSILON | {"axis": -3}, image, image, image).shape == image
    assert ours("LayerNormalization", layer, *((features,),) * 3).shape == (features,)


@settings(deadline=None)
@given(st.lists(sizes, min_size=2, max_size=5), st.sampled_from([(), (3, 4)]))
def test_concatenation(widths: list[int], pixels: tuple[int, ...]) -> None:
    """Of channels, of images or vectors."""
    shapes = [(width, *pixels) for width in widths]
    made = operate("", "Concat", [Operand("activation", shape) for shape in shapes], {"axis": 1})
    assert made == Operand("activation", (sum(widths), *pixels))
    for attributes, others in (({"axis": 0}, shapes), ({"axis": 1}, shapes[:1]), ({"axis": 1}, [*shapes, (1, 9, 9)])):
        with pytest.raises(VerificationError, match="Concat"):
            operate("", "Concat", [Operand("activation", shape) for shape in others], attributes)
    with pytest.raises(VerificationError, match="invalid inputs"):
        operate("", "Concat", [Operand("activation", shapes[0]), Operand("constant", shapes[1])], {"axis": 1})


@pytest.mark.parametrize(
    ("operation", "attributes", "shapes"),
    [
        ("Conv", {"strides": (1, 1), "pads": (0, 0, 0, 0)}, ((3, 8, 8), (4, 2, 3, 3), (4,))),
        ("Conv", {"strides": (1, 1), "pads": (0, 0, 0, 0)}, ((3, 8, 8), (4, 3, 3, 3), (3,))),
        ("Conv", {"strides": (1, 1), "pads": (0, 0, 0, 0)}, ((3, 8), (4, 3, 3), (4,))),
        ("Conv", {"strides": (1, 1)}, ((3, 8, 8), (4, 3, 3, 3), (4,))),
        ("MaxPool", {"strides": (1, 1), "pads": (0, 0, 0, 0), "kernel_shape": (0, 1)}, ((3, 8, 8),)),
        ("MaxPool", {"strides": (1, 1), "pads": (1, 1, 1, 1), "kernel_shape": (1, 1)}, ((3, 8, 8),)),
        ("MaxPool", {"strides": (1, 1), "pads": (0, 0, 0, 0), "kernel_shape": (9, 9)}, ((3, 8, 8),)),
        ("MaxPool", {"strides": (1, 1), "pads": (0, 0, 0, 0), "kernel_shape": (-1, -1)}, ((3, 8, 8),)),
        ("Conv", {"strides": (4097, 1), "pads": (0, 0, 0, 0)}, ((3, 8, 8), (4, 3, 3, 3), (4,))),
        ("Conv", {"strides": (1, 1), "pads": (9, 0, 0, 0)}, ((3, 8, 8), (4, 3, 3, 3), (4,))),
        ("Gemm", {"transB": 1}, ((7,), (5, 8), (5,))),
        ("Gemm", {"transB": 1}, ((7, 1, 1), (5, 7), (5,))),
        ("Add", {}, ((3, 8, 8), (2, 1, 1))),
        ("Add", {}, ((3, 1, 1), (3, 8, 8))),
        ("Mul", {}, ((8,), (1, 8))),
        ("Transpose", {"perm": (0, 3, 1, 2)}, ((8, 8),)),
        ("GlobalAveragePool", {}, ((8,),)),
        ("Relu", {}, ((8,), (8,))),
        ("Conv", {**SLIDE, "group": 2}, ((3, 8, 8), (4, 1, 3, 3), (4,))),
        ("Conv", {**SLIDE, "group": 2}, ((4, 8, 8), (3, 2, 3, 3), (3,))),
        ("Conv", {**SLIDE, "group": 1}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Conv", {**SLIDE, "group": 0}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Conv", {**SLIDE, "group": -2}, ((4, 8, 8), (4, 2, 3, 3), (4,))),
        ("Conv", {**SLIDE, "dilations": (1, 1)}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Conv", {**SLIDE, "dilations": (0, 2)}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Conv", {**SLIDE, "dilations": (4, 1)}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Conv", {**SLIDE, "dilations": (2**40, 1)}, ((4, 8, 8), (4, 4, 3, 3), (4,))),
        ("Clip", {}, ((3, 8, 8), (), (1,))),
        ("Clip", {}, ((3, 8, 8), (3, 1, 1), ())),
        ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, ((3, 8, 8),)),
        ("HardSigmoid", {}, ((3, 8, 8),)),
        ("Gelu", {"approximate": 1}, ((3, 8, 8),)),
        ("GroupNormalization", EPSILON | {"num_groups": 3}, ((4, 8, 8), (4,), (4,))),
        ("GroupNormalization", EPSILON | {"num_groups": 0}, ((4, 8, 8), (4,), (4,))),
        ("GroupNormalization", EPSILON | {"num_groups": -2}, ((4, 8, 8), (4,), (4,))),
        ("GroupNormalization", EPSILON | {"num_groups": 2.0}, ((4, 8, 8), (4,), (4,))),
        ("GroupNormalization", EPSILON | {"num_groups": 2}, ((4, 8, 8), (4,), (2,))),
        ("GroupNormalization", EPSILON | {"num_groups": 2}, ((4,), (4,), (4,))),
        ("GroupNormalization", {"num_groups": 2}, ((4, 8, 8), (4,), (4,))),
        *(
            ("GroupNormalization", {"num_groups": 2, "epsilon": epsilon}, ((4, 8, 8), (4,), (4,)))
            for epsilon in (0.0, -1e-5, float("nan"), float("inf"), 1)
        ),
        ("LayerNormalization", EPSILON | {"axis": 1}, ((4, 8, 8), (4, 8, 8), (4, 8, 8))),
        ("LayerNormalization", EPSILON | {"axis": -2}, ((4, 8, 8), (8, 8), (8, 8))),
        ("LayerNormalization", EPSILON | {"axis": -3}, ((4,), (4,), (4,))),
        ("LayerNormalization", EPSILON | {"axis": -1}, ((4, 8, 8), (4,), (4,))),
        ("LayerNormalization", {"axis": -1, "epsilon": float("nan")}, ((4,), (4,), (4,))),
        ("AveragePool", {**POOL, "count_include_pad": 2}, ((4, 8, 8),)),
        ("AveragePool", {**POOL, "count_include_pad": 1, "pads": (0, 0, 0, 0)}, ((4, 8, 8),)),
        ("AveragePool", {**POOL, "count_include_pad": 0, "pads": (3, 3, 3, 3)}, ((4, 8, 8),)),
        ("AveragePool", POOL, ((4, 8, 8),)),
    ],
)
def test_what_does_not_fit_is_refused(operation: str, attributes: Attributes, shapes: tuple[Any, ...]) -> None:
    with pytest.raises(VerificationError):
        ours(operation, attributes, *shapes)


def test_sums_of_images_need_equal_shapes() -> None:
    """A residual sum stretches nothing."""
    image = Operand("activation", (3, 8, 8))
    assert operate("", "Add", [image, image], {}) == image
    with pytest.raises(VerificationError, match="do not fit"):
        operate("", "Add", [image, Operand("activation", (1, 8, 8))], {})


def test_gates_multiply_whole_channels() -> None:
    """An image by one pixel for each of its channels, not the other way round; a sum takes no gate."""
    image, gate = Operand("activation", (3, 8, 8)), Operand("activation", (3, 1, 1))
    assert operate("", "Mul", [image, gate], {}) == operate("", "Mul", [image, image], {}) == image
    wrong = [("Mul", gate, image), ("Add", image, gate), ("Mul", image, Operand("activation", (1, 8, 8)))]
    for operation, one, other in [*wrong, ("Mul", image, Operand("drawn", (3, 1, 1)))]:
        with pytest.raises(VerificationError):
            operate("", operation, [one, other], {})


def test_costly_operators_count_for_more() -> None:
    """Functions and normalisation by what they compute of an element, and by the memory that they take for a while."""
    image = Operand("activation", (4, 8, 8))
    assert operations("Gelu", [image], image, {}) == 256 + 16 * 256
    assert operations("AveragePool", [image], image, {"kernel_shape": (7, 7)}) == 256 + 49 * 256
    assert working_bytes("GroupNormalization", image) == 2 * 4 * 256
    assert working_bytes("Relu", image) == 0


def test_operators_without_multiply_adds_are_counted_by_what_they_read_and_make() -> None:
    """A chain of them would compute for ever at no cost, else; a pool reads each element many times."""
    image, smaller = Operand("activation", (4, 8, 8)), Operand("activation", (4, 2, 2))
    kernel, bias = Operand("constant", (4, 4, 3, 3)), Operand("constant", (4,))
    assert operations("Relu", [image], image, {}) == 2 * 256
    assert operations("Add", [image, image], image, {}) == 3 * 256
    assert operations("MaxPool", [image], smaller, {"kernel_shape": (7, 7)}) == 256 + 49 * 16
    assert operations("Conv", [image, kernel, bias], image, {}) == 64 * 144 + 2 * 256
