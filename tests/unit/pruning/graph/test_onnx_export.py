"""The ONNX file: small where it is sparse, readable by anyone, and exactly the posterior."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import numpy_helper

from model_store.manifest import SCHEMA_VERSION
from pruning.graph.compaction import compact
from pruning.graph.folding import fold
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, stamp, to_bytes
from service.inference.artifact import read_artifact
from tests.support.same_draw import network_of, random_pixels, traced, without


def level(sparsity: float) -> Network:
    """A compacted level of a convnet with random weights."""
    plain, posterior = network_of("convnet", 3, 0)
    pixels = random_pixels(3, 8)
    masked = without(traced(plain, posterior, pixels), posterior, "weight", sparsity)
    return compact(fold(traced(plain, masked, pixels)).network).network


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_weights_are_those_of_the_posterior(sparsity: float) -> None:
    """Means and scales arrive bit by bit, sparse or dense; pruned ones as exact zeros in both."""
    network = level(sparsity)
    artifact = read_artifact(to_bytes(export_onnx(network)))
    assert {weight.name.removesuffix(".weight") for weight in artifact.weights} == network.weighted.keys()
    for weight in artifact.weights:
        ours = network.weighted[weight.name.removesuffix(".weight")].weight
        assert (torch.from_numpy(weight.mean) == ours.mean).all()
        assert (torch.from_numpy(weight.scale) == ours.scale).all()
        assert ((weight.scale == 0) == (weight.mean == 0)).all()


def test_sparse_where_that_is_smaller() -> None:
    """Below one third density values carry their places; the file of p90 is at most 0.35 of the dense one."""
    dense, sparse = export_onnx(level(0.0)), export_onnx(level(0.9))
    assert not dense.graph.sparse_initializer
    for tensor in sparse.graph.sparse_initializer:
        values = numpy_helper.to_array(tensor.values)
        assert 3 * len(values) < torch.Size(tensor.dims).numel()
        assert (values != 0).all()
    assert len(to_bytes(sparse)) <= 0.35 * len(to_bytes(dense))


def test_form_of_the_file() -> None:
    """Opset, IR version, input, output and metadata are as agreed; equal networks give equal bytes."""
    network = level(0.5)
    model = export_onnx(network)
    assert to_bytes(model) == to_bytes(export_onnx(network))
    read = onnx.load_model_from_string(stamp(model, "digits", "20261123-075100-3f9ca1", "p50"))
    assert (read.ir_version, {o.domain: o.version for o in read.opset_import}) == (10, {"": 21, "slimbayes": 1})
    assert [function.name for function in read.functions] == ["GaussianWeight"]
    (images,), (logits,) = read.graph.input, read.graph.output
    assert (images.name, images.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim] == ["N", 8, 8, 3]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["N", 10]
    says = {
        "model": "digits",
        "version": "20261123-075100-3f9ca1",
        "level": "p50",
        "manifest_schema": str(SCHEMA_VERSION),
    }
    assert {entry.key: entry.value for entry in read.metadata_props} == {f"slimbayes.{k}": v for k, v in says.items()}
