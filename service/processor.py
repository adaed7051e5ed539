"""What this machine's processor does with products of eight-bit numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LENGTH, LARGEST_UINT8, LARGEST_INT8 = 64, 255, 127


@cache
def overflows() -> bool:
    """Whether sums of two products that do not fit sixteen bits are cut off, as on x86 processors without VNNI.

    It is tried out, with the largest numbers that there are.
    """
    weights = numpy_helper.from_array(np.full((LENGTH, 1), LARGEST_INT8, np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["bytes", "weights"], ["sums"])],
        "overflow",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, [1, LENGTH])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ((found,),) = session.run(["sums"], {"bytes": np.full((1, LENGTH), LARGEST_UINT8, np.uint8)})[0]
    return bool(found != LENGTH * LARGEST_UINT8 * LARGEST_INT8)
