"""What an honest exporter would never write is refused before ONNX Runtime sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store.store import Store
from service.artifact import read_artifact
from service.errors import ArtifactError


@pytest.fixture
def model(digits_store: Path) -> onnx.ModelProto:
    """A level as it was published."""
    store = Store.open(digits_store)
    return onnx.load_model_from_string(store.read_level(store.manifest("digits", store.resolve("digits")), "dense"))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].domain = "com.evil"
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def unneeded_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["a", "b"], ["c"], body=helper.make_graph([], "b", [], [])))


def subgraph(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute.append(helper.make_attribute("then", helper.make_graph([], "b", [], [])))


def other_function(model: onnx.ModelProto) -> None:
    model.functions[0].node[0].op_type = "Scan"


def huge_tensor(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**40]


def sparse_out_of_shape(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "evil")
    places = numpy_helper.from_array(np.array([7], np.int64), "evil.index")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


def negative_scale(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name.endswith(".scale"))
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


def missing_mean(model: onnx.ModelProto) -> None:
    del model.graph.initializer[next(i for i, t in enumerate(model.graph.initializer) if t.name.endswith(".mean"))]


HOSTILE = (
    external, custom_operator, unneeded_operator, subgraph, other_function, huge_tensor, sparse_out_of_shape,
    negative_scale, missing_mean,
)  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hostile_files(model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]) -> None:
    """Each change alone is enough."""
    read_artifact(model.SerializeToString())
    change(model)
    with pytest.raises(ArtifactError):
        read_artifact(model.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x00" * 100, b"\x08\x0a" * 50])
def test_no_model_at_all(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        read_artifact(data)


def test_weights_come_out_as_they_went_in(model: onnx.ModelProto) -> None:
    """Mean and scale of every random weight, and a graph that has none of them left."""
    artifact = read_artifact(model.SerializeToString())
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert len(artifact.weights) == 4
    for weight in artifact.weights:
        np.testing.assert_array_equal(weight.mean, values[weight.name.replace(".weight", ".mean")])
    assert not [node for node in artifact.graph.graph.node if node.domain]
    assert not artifact.graph.functions
