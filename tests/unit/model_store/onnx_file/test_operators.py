"""Shapes of what operators make: as onnx infers them, and never of what no level asks for."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model_store.errors import VerificationError
from model_store.onnx_file.operators import Attributes, Operand, multiply_adds, operate, operations

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
@given(st.tuples(sizes, sizes, sizes), sizes)
def test_all_others(image: tuple[int, int, int], classes: int) -> None:
    """On shapes that fit."""
    channels, features = image[0], image[0] * image[1] * image[2]
    for operation, shapes in {
        "Relu": (image,),
        "GlobalAveragePool": (image,),
        "Flatten": (image,),
        "Mul": (image, (channels, 1, 1)),
        "Add": (image, (image[2],)),
    }.items():
        assert ours(operation, {}, *shapes).shape == inferred(operation, {}, *shapes)
    head = ((features,), (classes, features), (classes,))
    assert ours("Gemm", {"transB": 1}, *head).shape == inferred("Gemm", {"transB": 1}, *head)
    turned = {"perm": (0, 3, 1, 2)}
    assert ours("Transpose", turned, image).shape == inferred("Transpose", turned, image)


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


def test_operators_without_multiply_adds_are_counted_by_what_they_read_and_make() -> None:
    """A chain of them would compute for ever at no cost, else; a pool reads each element many times."""
    image, smaller = Operand("activation", (4, 8, 8)), Operand("activation", (4, 2, 2))
    kernel, bias = Operand("constant", (4, 4, 3, 3)), Operand("constant", (4,))
    assert operations("Relu", [image], image, {}) == 2 * 256
    assert operations("Add", [image, image], image, {}) == 3 * 256
    assert operations("MaxPool", [image], smaller, {"kernel_shape": (7, 7)}) == 256 + 49 * 16
    assert operations("Conv", [image, kernel, bias], image, {}) == 64 * 144 + 2 * 256
