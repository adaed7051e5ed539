"""Files that nobody honest writes: what can be said in ONNX and must not be, bombs of a few bytes, and random damage.

Every change is made to a level as it was published; each says what the refusal must name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[onnx.ModelProto], None]


def node(model: onnx.ModelProto, operation: str) -> onnx.NodeProto:
    """The last node of a kind."""
    return [each for each in model.graph.node if each.op_type == operation][-1]


def tensor(model: onnx.ModelProto, end: str) -> onnx.TensorProto:
    """The first dense constant with such a name."""
    return next(each for each in model.graph.initializer if each.name.endswith(end))


def fill(constant: onnx.TensorProto, value: float, count: int = 1) -> None:
    """Set the first values."""
    values = numpy_helper.to_array(constant).copy()
    values.flat[:count] = value
    constant.raw_data = values.tobytes()


def add_sparse(model: onnx.ModelProto, places: Sequence[int], shape: Sequence[int], count: int | None = None) -> None:
    """Replace the first weight of a convolution by a sparse one."""
    values = numpy_helper.from_array(np.ones(len(places) if count is None else count, np.float32), "evil")
    index = numpy_helper.from_array(np.array(places, np.int64), "evil.index")
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(values)
    sparse.indices.CopyFrom(index)
    sparse.dims.extend(shape)
    conv = next(each for each in model.graph.node if each.op_type == "Conv")
    unused = conv.input[1]
    conv.input[1] = "evil"
    kept = [each for each in model.graph.initializer if each.name != unused]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def first_shape(model: onnx.ModelProto) -> list[int]:
    """The shape of the first convolution's weight."""
    name = next(each for each in model.graph.node if each.op_type == "Conv").input[1]
    return list(next(each for each in model.graph.initializer if each.name == name).dims)


def attribute(operation: str, **values: Any) -> Change:
    """Set attributes of the last node of a kind."""

    def change(model: onnx.ModelProto) -> None:
        found = node(model, operation)
        kept = [each for each in found.attribute if each.name not in values]
        del found.attribute[:]
        found.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])

    return change


def metadata(**values: str | None) -> Change:
    """Set or remove what the file says of itself."""

    def change(model: onnx.ModelProto) -> None:
        says = {entry.key: entry.value for entry in model.metadata_props}
        says |= {f"slimbayes.{key}": value for key, value in values.items() if value is not None}
        for key in (f"slimbayes.{key}" for key, value in values.items() if value is None):
            del says[key]
        helper.set_model_props(model, says)

    return change


def external(location: str) -> Change:
    """Data in another file."""

    def change(model: onnx.ModelProto) -> None:
        found = model.graph.initializer[0]
        found.data_location = TensorProto.EXTERNAL
        found.external_data.add(key="location", value=location)
        found.ClearField("raw_data")

    return change


def dims(*shape: int) -> Change:
    """The shape of a constant, without a byte more."""
    return lambda model: model.graph.initializer[0].dims.__setitem__(slice(None), shape)


def renamed(old: str, new: str) -> Change:
    """The output of a node under another name, where it is made only."""

    def change(model: onnx.ModelProto) -> None:
        node(model, old).output[0] = new

    return change


def function(change: Callable[[onnx.FunctionProto], object]) -> Change:
    """Something about the function."""
    return lambda model: change(model.functions[0])  # type: ignore[return-value]


def _other_function(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    model.functions.append(helper.make_function("slimbayes", "Other", ["a"], ["b"], nodes, model.opset_import[:1]))


def _cycle(model: onnx.ModelProto) -> None:
    first, last = model.graph.node[4], node(model, "GlobalAveragePool")
    first.input[0] = last.output[0]


def _reversed(model: onnx.ModelProto) -> None:
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _typed(model: onnx.ModelProto, kind: int, shape: Sequence[str | int] | None) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", kind, shape))


def _double(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.DOUBLE, [1], [1.0]))


def _strings(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.STRING, [2], [b"a", b"b" * 10**6]))


def _float_data(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))


def _wide(channels: int) -> Change:
    """A chain of operations with a tensor that is far larger than its weights."""

    def change(model: onnx.ModelProto) -> None:
        add_sparse(model, [], [channels, *first_shape(model)[1:]])
        bias = helper.make_tensor("wide.bias", TensorProto.FLOAT, [channels], np.zeros(channels, np.float32), raw=False)
        bias.CopyFrom(numpy_helper.from_array(np.zeros(channels, np.float32), "wide.bias"))
        model.graph.initializer.append(bias)
        next(each for each in model.graph.node if each.op_type == "Conv").input[2] = "wide.bias"

    return change


def _many_relus(model: onnx.ModelProto) -> None:
    last = node(model, "GlobalAveragePool")
    for number in range(20_000):
        relu = helper.make_node("Relu", [last.input[0] if number == 0 else f"r{number - 1}"], [f"r{number}"])
        model.graph.node.append(relu)


SUBGRAPH = helper.make_graph([], "inside", [], [])
CRAFTED: dict[str, tuple[Change, str]] = {
    "external data": (external("weights.bin"), "data outside the file"),
    "external data above": (external("../../secret"), "data outside the file"),
    "external data, absolute": (external("/etc/passwd"), "data outside the file"),
    "location alone": (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "data outside the file"),
    "custom operator": (lambda m: setattr(m.graph.node[-1], "domain", "com.evil"), "com.evil.Gemm"),
    "opset of another domain": (lambda m: m.opset_import.append(helper.make_opsetid("com.evil", 1)), "opset"),
    "newer opset": (lambda m: setattr(m.opset_import[0], "version", 22), "opset"),
    "older opset": (lambda m: setattr(m.opset_import[0], "version", 7), "opset"),
    "opset twice": (lambda m: m.opset_import.append(helper.make_opsetid("", 21)), "opset"),
    "no opset": (lambda m: m.ClearField("opset_import"), "opset"),
    "newer IR": (lambda m: setattr(m, "ir_version", 11), "IR version"),
    "loop": (lambda m: setattr(m.graph.node[-1], "op_type", "Loop"), "onnx.Loop"),
    "random seed": (lambda m: setattr(m.graph.node[4], "op_type", "RandomNormal"), "onnx.RandomNormal"),
    "string operator": (lambda m: setattr(m.graph.node[4], "op_type", "StringNormalizer"), "StringNormalizer"),
    "graph inside": (attribute("Gemm", body=SUBGRAPH), "a graph inside"),
    "graphs inside": (attribute("Gemm", bodies=[SUBGRAPH, SUBGRAPH]), "a graph inside"),
    "tensor inside": (attribute("Relu", value=numpy_helper.from_array(np.ones(3))), "a tensor inside"),
    "type inside": (attribute("Relu", t=helper.make_tensor_type_proto(1, [1])), "another kind"),
    "function of something else": (function(lambda f: setattr(f.node[0], "op_type", "Scan")), "function"),
    "function in another order": (function(lambda f: f.node[1].input.__setitem__(0, "noise")), "function"),
    "function that calls itself": (
        function(
            lambda f: f.node[0].CopyFrom(
                helper.make_node("GaussianWeight", ["mean", "mean"], ["noise"], domain="slimbayes")
            )
        ),
        "function",
    ),
    "functions that call one another": (
        lambda m: _other_function(m, helper.make_node("Other", ["a"], ["b"], domain="slimbayes")),
        "function",
    ),
    "function of another name": (function(lambda f: setattr(f, "name", "Weight")), "function"),
    "function of another domain": (function(lambda f: setattr(f, "domain", "")), "function"),
    "function with a seed": (
        function(lambda f: f.node[0].attribute.append(helper.make_attribute("seed", 1))),
        "function",
    ),
    "function with attributes": (function(lambda f: f.attribute.append("alpha")), "attributes"),
    "function with another opset": (function(lambda f: setattr(f.opset_import[0], "version", 22)), "opset"),
    "no function": (lambda m: m.ClearField("functions"), "one function"),
    "terabyte tensor": (dims(2**40), "absurd shape"),
    "gigabyte tensor": (dims(2**28), "bytes than its shape"),
    "overflowing product": (dims(2**30, 2**30, 2**30), "bytes than its shape"),
    "product that wraps to what is there": (dims(2**30, 2**30, 2**4, 3), "bytes than its shape"),
    "negative size": (dims(-3), "absurd shape"),
    "negative sizes": (dims(-1, -3), "absurd shape"),
    "no size": (dims(0), "absurd shape"),
    "hundred dimensions": (dims(*[1] * 100), "more than 5 dims"),
    "terabyte sparse": (lambda m: add_sparse(m, [0], [2**40]), "absurd shape"),
    "sparse over the limit": (lambda m: add_sparse(m, [0], [2**12, 2**12, 3, 3]), "declares tensors of"),
    "sparse product overflows": (lambda m: add_sparse(m, [0], [2**16, 2**16, 2**16, 2**16]), "declares tensors of"),
    "sparse negative": (lambda m: add_sparse(m, [0], [-16, 3, 3, 3]), "absurd shape"),
    "place after the end": (lambda m: add_sparse(m, [10**6], first_shape(m)), "places"),
    "place before the start": (lambda m: add_sparse(m, [-1], first_shape(m)), "places"),
    "places in disorder": (lambda m: add_sparse(m, [3, 2], first_shape(m)), "places"),
    "place twice": (lambda m: add_sparse(m, [3, 3], first_shape(m)), "places"),
    "places whose differences wrap": (
        lambda m: add_sparse(m, [0, 2**63 - 1, -(2**63), -1, 5], first_shape(m)),
        "places",
    ),
    "more values than places": (lambda m: add_sparse(m, [0], first_shape(m), 5), "other places than values"),
    "more places than room": (lambda m: add_sparse(m, range(10**5), first_shape(m)), "other places than values"),
    "NaN mean": (lambda m: fill(tensor(m, ".mean"), np.nan), "not finite"),
    "infinite mean": (lambda m: fill(tensor(m, ".mean"), np.inf), "not finite"),
    "NaN scale": (lambda m: fill(tensor(m, ".scale"), np.nan), "not finite"),
    "infinite scale": (lambda m: fill(tensor(m, ".scale"), np.inf), "not finite"),
    "negative scale": (lambda m: fill(tensor(m, ".scale"), -1e-9), "negative scale"),
    "NaN bias": (lambda m: fill(tensor(m, ".bias"), np.nan), "not finite"),
    "absurd means": (lambda m: fill(tensor(m, "14.mean"), 3e38, 100), "logits are not finite"),
    "strings": (_strings, "raw_data"),
    "doubles": (_double, "raw_data"),
    "floats apart": (_float_data, "raw_data"),
    "floats twice": (lambda m: m.graph.initializer[0].float_data.extend([1.0]), "raw_data"),
    "another kind": (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.FLOAT16), "float32"),
    "kind that there is not": (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "float32"),
    "too few bytes": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 11), "bytes than its shape"),
    "too many bytes": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0" * 16), "bytes than its shape"),
    "no bytes": (lambda m: m.graph.initializer[0].ClearField("raw_data"), "bytes than its shape"),
    "segment": (lambda m: setattr(m.graph.initializer[0].segment, "begin", 1), "segment"),
    "constant without a name": (lambda m: setattr(m.graph.initializer[0], "name", ""), "no name"),
    "cycle": (_cycle, "does not make before"),
    "reads itself": (lambda m: node(m, "Relu").input.__setitem__(0, node(m, "Relu").output[0]), "does not make"),
    "in disorder": (_reversed, "does not make before"),
    "reads what is not there": (lambda m: node(m, "Gemm").input.__setitem__(0, "nothing"), "does not make"),
    "reads nothing": (lambda m: node(m, "Gemm").input.__setitem__(2, ""), "does not make"),
    "made twice": (lambda m: m.graph.node.append(node(m, "Relu")), "two tensors"),
    "makes a constant": (renamed("Relu", "pixels.factor"), "two tensors"),
    "makes the images": (renamed("Relu", "images"), "two tensors"),
    "makes nothing": (renamed("Relu", ""), "two tensors"),
    "makes two": (lambda m: node(m, "Relu").output.append("b"), "one tensor"),
    "constant called images": (lambda m: setattr(m.graph.initializer[0], "name", "images"), "images"),
    "constant twice": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two constants"),
    "mean is missing": (lambda m: m.graph.initializer.remove(tensor(m, ".mean")), "does not make"),
    "mean of another shape": (
        lambda m: tensor(m, ".mean").CopyFrom(numpy_helper.from_array(np.ones(7, np.float32), tensor(m, ".mean").name)),
        "differ in shape",
    ),
    "mean that is computed": (
        lambda m: node(m, "GaussianWeight").input.__setitem__(0, node(m, "Flatten").output[0]),
        "does not make|cannot have",
    ),
    "constant that nothing reads": (
        lambda m: m.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "idle")),
        "nothing reads",
    ),
    "node that nothing reads": (
        lambda m: m.graph.node.append(helper.make_node("Relu", [m.graph.node[4].output[0]], ["idle"])),
        "nothing reads",
    ),
    "groups": (attribute("Conv", group=2**31), "attributes other than"),
    "negative groups": (attribute("Conv", group=-1), "attributes other than"),
    "dilations": (attribute("Conv", dilations=[2**40, 2**40]), "attributes other than"),
    "kernel": (attribute("Conv", kernel_shape=[2**31, 2**31]), "attributes other than"),
    "automatic pads": (attribute("Conv", auto_pad="SAME_UPPER"), "another kind"),
    "pads": (attribute("Conv", pads=[2**40] * 4), "absurd pads"),
    "negative pads": (attribute("Conv", pads=[-1] * 4), "absurd pads"),
    "least pads": (attribute("Conv", pads=[-(2**63)] * 4), "absurd pads"),
    "two pads": (attribute("Conv", pads=[1, 1]), "attributes other than"),
    "many pads": (attribute("Conv", pads=[1] * 1000), "more than 4 ints"),
    "no strides": (attribute("Conv", strides=[0, 0]), "absurd strides"),
    "strides": (attribute("Conv", strides=[2**62, 2**62]), "absurd strides"),
    "negative strides": (attribute("Conv", strides=[-1, -1]), "absurd strides"),
    "strides that leave less": (attribute("Conv", strides=[2, 2]), "do not fit|multiply-adds|logits"),
    "floating strides": (attribute("Conv", strides=[1.5, 1.5]), "another kind"),
    "one stride": (attribute("Conv", strides=1), "attributes other than"),
    "attribute twice": (lambda m: node(m, "Gemm").attribute.append(node(m, "Gemm").attribute[0]), "twice"),
    "attribute without a kind": (lambda m: node(m, "Gemm").attribute[0].ClearField("type"), "no ONNX model"),
    "attribute of two kinds": (lambda m: node(m, "Gemm").attribute[0].ints.append(1), "neither"),
    "attribute of a function": (lambda m: setattr(node(m, "Gemm").attribute[0], "ref_attr_name", "a"), "reference"),
    "alpha": (attribute("Gemm", alpha=float("nan")), "another kind"),
    "not transposed": (attribute("Gemm", transB=0), "do not fit"),
    "cast to doubles": (attribute("Cast", to=TensorProto.DOUBLE), "float32"),
    "cast to what there is not": (attribute("Cast", to=2**62), "float32"),
    "transposed otherwise": (attribute("Transpose", perm=[0, 1, 2, 3]), "Transpose"),
    "transposed out of range": (attribute("Transpose", perm=[9, -9, 2**60, 0]), "Transpose"),
    "flattened elsewhere": (attribute("Flatten", axis=-(2**63)), "attributes other than"),
    "bias for a weight": (lambda m: node(m, "Conv").input.__setitem__(1, node(m, "Conv").input[2]), "do not fit"),
    "convolution without bias": (lambda m: node(m, "Conv").input.pop(), "cannot have"),
    "adds shapes that do not fit": (lambda m: node(m, "Add").input.__setitem__(1, "pixels"), "do not fit"),
    "multiplies a constant": (lambda m: node(m, "Mul").input.__setitem__(0, "pixels.shift"), "cannot have"),
    "floating images": (lambda m: _typed(m, TensorProto.FLOAT, ["N", 32, 32, 3]), "uint8"),
    "larger images": (lambda m: _typed(m, TensorProto.UINT8, ["N", 64, 64, 3]), "images or classes"),
    "images that need gigabytes": (lambda m: _typed(m, TensorProto.UINT8, ["N", 4096, 4096, 3]), "bytes for one image"),
    "images of 10^18 pixels": (lambda m: _typed(m, TensorProto.UINT8, ["N", 10**9, 10**9, 3]), "bytes for one image"),
    "negative images": (lambda m: _typed(m, TensorProto.UINT8, ["N", -32, 32, 3]), "uint8"),
    "images of any size": (lambda m: _typed(m, TensorProto.UINT8, ["N", "H", "W", 3]), "uint8"),
    "one image": (lambda m: _typed(m, TensorProto.UINT8, [1, 32, 32, 3]), "uint8"),
    "images without a shape": (lambda m: _typed(m, TensorProto.UINT8, None), "uint8"),
    "sequence of images": (
        lambda m: m.graph.input[0].type.CopyFrom(
            helper.make_sequence_type_proto(helper.make_tensor_type_proto(2, ["N"]))
        ),
        "something else than a tensor",
    ),
    "two inputs": (lambda m: m.graph.input.append(m.graph.input[0]), "uint8"),
    "no input": (lambda m: m.graph.ClearField("input"), "uint8"),
    "many inputs": (lambda m: m.graph.input.extend([m.graph.input[0]] * 99), "more than 2 inputs"),
    "more classes": (lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 11), "logits"),
    "other output": (lambda m: setattr(m.graph.output[0], "name", "probabilities"), "logits"),
    "two outputs": (lambda m: m.graph.output.append(m.graph.output[0]), "logits"),
    "no logits": (renamed("Gemm", "other"), "nothing reads|logits"),
    "far too many channels": (_wide(2**15), "bytes for one image"),
    "20,000 operations": (_many_relus, "more than 10000 nodes"),
    "another model's": (metadata(model="other"), "its model is other"),
    "another version's": (metadata(version="20000101-000000-000000"), "its version is"),
    "another level's": (metadata(level="dense"), "its level is dense"),
    "of another schema": (metadata(manifest_schema="4"), "its manifest_schema is 4"),
    "of no model": (metadata(model=None), "its model is None"),
    "of no version": (metadata(version=None), "its version is None"),
    "says it twice": (lambda m: m.metadata_props.append(m.metadata_props[0]), "twice"),
    "endless metadata": (lambda m: m.metadata_props.extend([m.metadata_props[0]] * 99), "more than 16 metadata"),
    "training": (lambda m: m.training_info.add(), "training_info"),
    "documented": (lambda m: setattr(m, "doc_string", "x" * 10**7), "doc_string"),
    "documented graph": (lambda m: setattr(m.graph, "doc_string", "x" * 10**7), "doc_string"),
    "domain": (lambda m: setattr(m, "domain", "evil"), "domain"),
    "long name": (lambda m: setattr(m.graph.initializer[0], "name", "x" * 10**6), "more than 256 bytes"),
    "name with a zero": (lambda m: setattr(m.graph.initializer[0], "name", "a\0b"), "cannot be printed"),
    "name with a new line": (lambda m: setattr(m.graph.node[0], "name", "a\nb"), "cannot be printed"),
    "shapes of its own": (lambda m: m.graph.value_info.append(m.graph.output[0]), "value_info"),
    "rounding of its own": (lambda m: m.graph.quantization_annotation.add(), "quantization_annotation"),
    "sparse without places": (lambda m: m.graph.sparse_initializer[0].ClearField("indices"), "no indices"),
    "sparse without values": (lambda m: m.graph.sparse_initializer[0].ClearField("values"), "no values"),
    "sparse without a shape": (lambda m: m.graph.sparse_initializer[0].ClearField("dims"), "other places"),
    "overload": (lambda m: setattr(m.graph.node[0], "overload", "x"), "overload"),
}


def varint(value: int) -> bytes:
    """A number as protocol buffers write it."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def message(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def _nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph in an attribute of …"""
    data = b""
    for _ in range(depth):
        data = message(1, message(5, message(6, data)))
    return data


# Of a few megabytes at most; what a reader would build of them takes far more.
BOMBS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "two million nodes": (lambda d: message(7, b"\x0a\x00" * 2_000_000), "no op_type|more than 10000"),
    "two million constants": (lambda d: message(7, b"\x2a\x00" * 2_000_000), "more than 20000"),
    "two million sparse": (lambda d: message(7, b"\x7a\x00" * 2_000_000), "more than 20000"),
    "two million entries": (lambda d: b"\x72\x00" * 2_000_000, "more than 16"),
    "two million functions": (lambda d: b"\xca\x01\x00" * 1_000_000, "more than 2 functions"),
    "two million opsets": (lambda d: b"\x42\x00" * 2_000_000, "more than 3 opsets"),
    "two million shapes": (lambda d: d + message(7, message(11, b"\x12\x00" * 2_000_000)), "twice"),
    "two million sizes": (lambda d: message(7, message(5, b"\x08\x01" * 2_000_000)), "more than 5 dims"),
    "packed sizes": (lambda d: message(7, message(5, message(1, b"\x01" * 4_000_000))), "in a form"),
    "packed ints": (lambda d: message(7, message(1, message(5, message(8, b"\x01" * 4_000_000)))), "in a form"),
    "packed floats": (lambda d: message(7, message(1, message(5, message(7, b"\0" * 4_000_000)))), "another kind"),
    "strings in an attribute": (lambda d: message(7, message(1, message(5, b"\x4a\x00" * 10**6))), "another kind"),
    "nested a thousand deep": (lambda d: message(7, _nested(1_000)), "a graph inside"),
    "nested fifty thousand deep": (lambda d: message(7, _nested(50_000)), "a graph inside"),
    "groups of the wire": (lambda d: b"\x3b" * 10**6, "in a form"),
    "nested groups of no field": (lambda d: b"\x7b" * 10**6, "unknown field"),
    "field 0": (lambda d: b"\x00\x00" + d, "unknown field 0"),
    "unknown field": (lambda d: d + message(1000, b"x" * 10**6), "unknown field 1000"),
    "number without end": (lambda d: b"\x08" + b"\x80" * 10**6, "too long"),
    "number of 70 bits": (lambda d: b"\x08" + b"\xff" * 9 + b"\x7f", "too long"),
    "number in ten bytes": (lambda d: b"\x08\x8a" + b"\x80" * 8 + b"\x00", "too long"),
    "length beyond the end": (lambda d: b"\x3a" + varint(2**40) + b"x", "cut off"),
    "negative length": (lambda d: b"\x3a" + varint(2**64 - 1) + b"x", "cut off"),
    "cut": (lambda d: d[: len(d) // 2], "cut off"),
    "cut at the end": (lambda d: d[:-1], "cut off|twice|function"),
    "followed by zeros": (lambda d: d + b"\0" * 100, "unknown field 0"),
    "followed by itself": (lambda d: d + d, "twice"),
    "followed by another graph": (lambda d: d + message(7, b""), "twice"),
    "followed by another version": (lambda d: d + b"\x08\x0a", "twice"),
    "number for a graph": (lambda d: b"\x38\x01", "in a form"),
    "bytes for a number": (lambda d: b"\x0a\x01\x0a", "in a form"),
    "fixed for a number": (lambda d: b"\x09" + b"\0" * 8, "in a form"),
    "names that are no text": (lambda d: message(7, message(2, b"\xff\xfe")), "no text"),
    "nothing": (lambda d: b"\n", "no ONNX model"),
    "zeros": (lambda d: b"\0" * 10**6, "unknown field 0"),
    "text": (lambda d: b"{}" * 1000, "no ONNX model"),
    "compressed": (lambda d: b"\x1f\x8b\x08\x00" + d, "no ONNX model"),
    "archive": (lambda d: b"PK\x03\x04" + d, "no ONNX model"),
}


def crafted(data: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes and what the refusal must name, of every change to a level's file."""
    for name, (change, says) in CRAFTED.items():
        model = onnx.load_model_from_string(data)
        change(model)
        yield name, model.SerializeToString(deterministic=True), says
    for name, (build, says) in BOMBS.items():
        yield name, build(data), says


def mutated(data: bytes, values: Sequence[range], count: int, seed: int) -> Iterator[tuple[str, bytes, bool]]:
    """Name, bytes and whether values of a tensor changed: one to three bytes set, cut out or put in, or bits flipped.

    Half of them outside of `values`, the parts of the file that are values of tensors.
    """
    generator = random.Random(seed)
    inside = bytearray(len(data))
    for each in values:
        inside[each.start : each.stop] = b"\1" * len(each)
    outside = [place for place in range(len(data)) if not inside[place]]
    for number in range(count):
        changed, touched = bytearray(data), False
        for _ in range(generator.randint(1, 3)):
            place = generator.choice(outside) if number % 2 else generator.randrange(len(data))
            touched = touched or bool(inside[place])
            kind = generator.choice(("flip", "set", "remove", "insert")) if number % 4 else "flip"
            if kind == "flip":
                changed[place] ^= 1 << generator.randrange(8)
            elif kind == "set":
                changed[place] = generator.randrange(256)
            elif kind == "remove":
                del changed[place]
            else:
                changed.insert(place, generator.randrange(256))
            if kind in ("remove", "insert"):
                break  # places behind it are others now
        yield f"mutation {number}", bytes(changed), touched
