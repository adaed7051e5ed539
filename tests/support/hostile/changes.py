"""Changes to a level's model that nobody honest makes, to put together what `hostile_models` lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def other_function(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    model.functions.append(helper.make_function("slimbayes", "Other", ["a"], ["b"], nodes, model.opset_import[:1]))


def cycle(model: onnx.ModelProto) -> None:
    first, last = model.graph.node[4], node(model, "GlobalAveragePool")
    first.input[0] = last.output[0]


def in_reverse(model: onnx.ModelProto) -> None:
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def typed(model: onnx.ModelProto, kind: int, shape: Sequence[str | int] | None) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", kind, shape))


def doubles(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.DOUBLE, [1], [1.0]))


def strings(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.STRING, [2], [b"a", b"b" * 10**6]))


def floats_apart(model: onnx.ModelProto) -> None:
    found = model.graph.initializer[0]
    found.CopyFrom(helper.make_tensor(found.name, TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))


def wide(channels: int) -> Change:
    """A chain of operations with a tensor that is far larger than its weights."""

    def change(model: onnx.ModelProto) -> None:
        add_sparse(model, [], [channels, *first_shape(model)[1:]])
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(channels, np.float32), "wide.bias"))
        next(each for each in model.graph.node if each.op_type == "Conv").input[2] = "wide.bias"

    return change


def many_relus(model: onnx.ModelProto) -> None:
    last = node(model, "GlobalAveragePool")
    for number in range(20_000):
        relu = helper.make_node("Relu", [last.input[0] if number == 0 else f"r{number - 1}"], [f"r{number}"])
        model.graph.node.append(relu)
