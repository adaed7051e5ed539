"""Sums of eight-bit products are exact, whatever the processor does with two of them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store.onnx_file.format import MAX_INT8_WEIGHT
from service.inference.session import Session


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("positions", [1, 40])
def test_sums_are_exact(sign: int, side: int, positions: int) -> None:
    """Of the largest products, many in a sum, in a convolution as the engine has them."""
    channels, weight = 32, sign * MAX_INT8_WEIGHT
    terms = channels * side
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "end": np.uint8(0 if sign > 0 else 255),
        "steps": np.float32(terms * MAX_INT8_WEIGHT),
        "weights": np.full((8, channels, 1, side), weight, np.int8),
        "scales": np.ones(8, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["floats", "one", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "scales"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y.exact"]),
        helper.make_node("QuantizeLinear", ["y.exact", "steps", "end"], ["y.bytes"]),
        helper.make_node("DequantizeLinear", ["y.bytes", "steps", "end"], ["y"]),
    ]
    shape = [1, channels, 1, positions + side - 1]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("floats", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 1, positions])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    session = Session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    for value in (255, 129, 2):
        (y,) = session.run({"floats": np.full(shape, value, np.float32)})
        assert (y == value * terms * weight).all()
