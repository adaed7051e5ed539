"""What a file says comes out of it as it went in; hostile ones are in `test_hostile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from model_store.errors import VerificationError
from model_store.store import Store
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.graph.trace import GraphTemplate
from service.errors import ArtifactError
from service.inference.artifact import read_artifact
from service.inference.session import Session
from tests.support.random_networks import random_network
from tests.support.same_draw import random_images, random_pixels
from training.bayesian.posterior import Posterior


@pytest.fixture
def model(digits_store: Path) -> onnx.ModelProto:
    """A level as it was published."""
    store = Store.open(digits_store)
    return onnx.load_model_from_string(store.read_level(store.manifest("digits", store.resolve("digits")), "dense"))


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x00" * 100, b"\x08\x0a" * 50])
def test_no_model_at_all(data: bytes) -> None:
    with pytest.raises(VerificationError, match="no ONNX model"):
        read_artifact(data)


def test_weights_come_out_as_they_went_in(model: onnx.ModelProto) -> None:
    """Mean and scale of every random weight, and a graph that has none of them left."""
    artifact = read_artifact(model.SerializeToString())
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert len(artifact.members[0].weights) == 4
    for weight in artifact.members[0].weights:
        np.testing.assert_array_equal(weight.mean, values[weight.name.replace(".weight", ".mean")])
    assert not [node for node in artifact.members[0].graph.graph.node if node.domain]
    assert not artifact.members[0].graph.functions


def test_the_graph_is_the_files(model: onnx.ModelProto) -> None:
    """Every other node and constant, as onnx reads them; sparse ones are spread as onnx's own reader does."""
    graph = read_artifact(model.SerializeToString()).members[0].graph.graph
    theirs = [node for node in model.graph.node if not node.domain]
    assert [(n.op_type, n.input, n.output) for n in graph.node] == [(n.op_type, n.input, n.output) for n in theirs]
    for ours, their in zip(graph.node, theirs, strict=True):
        assert {a.name: helper.get_attribute_value(a) for a in ours.attribute} == {
            a.name: helper.get_attribute_value(a) for a in their.attribute
        }
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert graph.initializer
    for tensor in graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), values[tensor.name])
    assert (list(graph.input), list(graph.output)) == (list(model.graph.input), list(model.graph.output))


def test_group_normalisation_is_right_where_means_are_large() -> None:
    """As in float64; a variance that is a difference of large numbers would have no digit left."""
    plain, pixels = random_network(["group norm"], "mean", 0), random_pixels(3, 8)
    with torch.no_grad():
        plain[0].bias += 3_000.0
        plain[1].bias += torch.linspace(-1, 1, len(plain[1].bias))
    network = GraphTemplate.trace(plain, pixels).bind(Posterior({}, plain.state_dict()))
    (member,) = read_artifact(to_bytes(export_onnx(network))).members
    assert "GroupNormalization" not in {node.op_type for node in member.graph.graph.node}
    images = random_images(pixels, 4, 0)
    (found,) = Session(member.graph).run({"images": images.numpy()})
    with torch.no_grad():
        expected = plain.double()(pixels.normalise(images).double()).numpy()
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_a_name_that_group_normalisation_needs_is_refused() -> None:
    """A file may call its tensors as it likes, but not so that two would have one name."""
    plain = random_network(["group norm", "relu"], "mean", 0)
    model = export_onnx(GraphTemplate.trace(plain, random_pixels(3, 8)).bind(Posterior({}, plain.state_dict())))
    read_artifact(to_bytes(model))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["1.ones" if name == "2" or name == "_2" else name for name in names]
    with pytest.raises(ArtifactError, match="a name that its group normalisation needs"):
        read_artifact(to_bytes(model))


def test_sparse_values_are_spread(digits_store: Path) -> None:
    """As scattering them by hand does."""
    store = Store.open(digits_store)
    data = store.read_level(store.manifest("digits", store.resolve("digits")), "p90")
    sparse = {s.values.name: s for s in onnx.load_model_from_string(data).graph.sparse_initializer}
    weights = {
        w.name.replace(".weight", part): v
        for w in read_artifact(data).members[0].weights
        for part, v in ((".mean", w.mean), (".scale", w.scale))
    }
    for name in sparse.keys() & weights.keys():
        expected = np.zeros(sparse[name].dims, np.float32)
        expected.flat[numpy_helper.to_array(sparse[name].indices)] = numpy_helper.to_array(sparse[name].values)
        np.testing.assert_array_equal(weights[name], expected)
