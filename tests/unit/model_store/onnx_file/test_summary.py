"""The operations of a file, read without onnx: as onnx reads them."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.errors import VerificationError
from model_store.onnx_file.format import GAUSSIAN_WEIGHT
from model_store.onnx_file.summary import read_graph
from model_store.store import Store


@pytest.fixture(params=["dense", "p90"])
def model(digits_store: Path, request: pytest.FixtureRequest) -> bytes:
    """The file of a level."""
    store = Store.open(digits_store)
    return store.read_level(store.manifest("digits", store.resolve("digits")), request.param)


def test_nodes_are_those_that_onnx_reads(model: bytes) -> None:
    """Operations, outputs and inputs in order, constants with their shapes; a drawn weight is with who reads it."""
    graph = onnx.load_model_from_string(model).graph
    drawn = {node.output[0]: list(node.input) for node in graph.node if node.op_type == GAUSSIAN_WEIGHT}
    theirs = [node for node in graph.node if node.op_type != GAUSSIAN_WEIGHT]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {tensor.values.name: tuple(tensor.dims) for tensor in graph.sparse_initializer}
    counts = {tensor.values.name: tensor.values.dims[0] for tensor in graph.sparse_initializer}
    ours = read_graph(model)
    assert [(node.operation, node.makes) for node in ours] == [(node.op_type, node.output[0]) for node in theirs]
    for node, their in zip(ours, theirs, strict=True):
        inputs = [part for name in their.input for part in drawn.get(name, [name])]
        assert node.reads == tuple(name for name in inputs if name not in shapes)
        assert [(name, shape) for name, shape, _ in node.holds] == [
            (name, shapes[name]) for name in inputs if name in shapes
        ]
        assert all(count == counts[name] for name, _, count in node.holds if name in counts)
        assert node.random == any(name in drawn for name in their.input)
    assert any(node.random for node in ours)


@given(st.sampled_from([3, 4, 6, 7]), st.binary(max_size=200))
def test_bytes_of_no_known_kind_are_refused(kind: int, data: bytes) -> None:
    """Whatever follows a field that the format does not have."""
    with pytest.raises(VerificationError, match="no ONNX model"):
        read_graph(bytes([kind]) + data)


@pytest.mark.parametrize("data", [b"", b"no model", b"\0" * 64, b'{"a": 1}', b"\x3a\xff", b"\x3a\x02\x0a\x00"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(VerificationError, match=r"no ONNX model|IR version"):
        read_graph(data)


def test_a_cut_file_is_refused(model: bytes) -> None:
    for length in range(1, len(model), len(model) // 50):
        with pytest.raises(VerificationError, match="no ONNX model"):
            read_graph(model[:length])


def test_show_lists_the_operations(digits_store: Path) -> None:
    arguments = ["show", "digits", "--graph", "--level", "p90", "--store", str(digits_store)]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert shown.exit_code == 0, shown.output
    for text in ("Conv", "Gemm", "logits", "pixels", "yes", "%"):
        assert text in shown.output
    nodes = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)["nodes"]
    assert nodes[-1]["makes"] == "logits"
    missing = CliRunner().invoke(app, ["show", "digits", "--graph", "--level", "p1", "--store", str(digits_store)])
    assert missing.exit_code == 1
    assert "has no level 'p1'" in missing.output
