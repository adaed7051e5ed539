"""Products of eight-bit numbers: sessions have the exact sums, whatever the processor does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.processor import overflows
from service.session import Session


@pytest.mark.parametrize("positions", [1, 40])
def test_sums_are_exact(positions: int) -> None:
    """Of the largest products, many in a sum, in a convolution as the engine has them."""
    channels = 32
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "steps": np.float32(channels * 127),
        "weights": np.full((8, channels, 1, 1), 127, np.int8),
        "scales": np.ones(8, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["floats", "one", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "scales"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y.exact"]),
        helper.make_node("QuantizeLinear", ["y.exact", "steps", "zero"], ["y.bytes"]),
        helper.make_node("DequantizeLinear", ["y.bytes", "steps", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("floats", TensorProto.FLOAT, [1, channels, 1, positions])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 1, positions])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    session = Session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    for value in (255, 129, 2):
        (y,) = session.run({"floats": np.full((1, channels, 1, positions), value, np.float32)})
        assert (y == value * channels * 127).all()


def test_it_is_found_out_once() -> None:
    """And is a plain answer."""
    assert overflows() in (True, False)
    assert overflows.cache_info().misses == 1
