"""Measure latency with ONNX Runtime on one thread of this machine.

Single layers are measured on demand and cached, to predict what narrowing a layer saves; a whole network is measured as
a whole. Each measurement is the minimum over several runs, since other load on the machine only adds time.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from model_store.onnx_file.format import IR_VERSION, OPSETS
from pruning.errors import StudyError
from pruning.graph.network import Network, without_scales
from pruning.graph.nodes import Convolution, Weighted
from pruning.graph.onnx_export import export_onnx, to_bytes
from training.atomic import write_atomically

# ONNX Runtime reads this when it is imported, which in this package happens here only.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MIN_MEASUREMENT_S, MIN_RUNS = 0.01, 10


@dataclass
class Timings:
    """Latencies of single layers in milliseconds per image, by the layer's shape; measured on first use."""

    known: dict[str, float] = field(default_factory=dict)

    def layer_ms(self, layer: Weighted, outputs: int, inputs: int) -> float:
        """Return the latency of a layer if it had `outputs` output and `inputs` input channels."""
        sizes = [outputs, inputs, layer.positions]
        if isinstance(layer, Convolution):
            sizes += [*layer.weight.mean.shape[2:], *layer.stride, *layer.pads, *layer.size]
            sizes += [*layer.dilation, _groups(layer, inputs)] if layer.groups > 1 or max(layer.dilation) > 1 else []
        key = "x".join(map(str, sizes))
        if key not in self.known:
            self.known[key] = _measure_ms(*_layer_model(layer, outputs, inputs))
        return self.known[key]

    def save(self, path: Path) -> None:
        """Write all measurements as JSON, atomically."""
        write_atomically(path, json.dumps(self.known, indent=1, sort_keys=True).encode())

    @classmethod
    def load(cls, path: Path) -> Timings:
        """Read what `save` wrote, or start empty if there is no file; raise StudyError for an invalid file."""
        if not path.exists():
            return cls()
        try:
            return cls({str(key): float(value) for key, value in json.loads(path.read_bytes()).items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StudyError(f"{path} is not a table of timings: {error}") from error


def measure_ms(network: Network) -> float:
    """Measure one draw of the whole network for one image, in milliseconds on one thread."""
    drawn, pixels = without_scales(network, network.weighted), network.pixels
    image = np.zeros((1, pixels.height, pixels.width, pixels.channels), np.uint8)
    return _measure_ms(to_bytes(export_onnx(drawn)), image)


def _layer_model(layer: Weighted, outputs: int, inputs: int) -> tuple[bytes, np.ndarray]:
    """Build an ONNX model of the layer alone, and an input for it."""
    if isinstance(layer, Convolution):
        kernel = tuple(layer.weight.mean.shape[2:])
        top, left, bottom, right = layer.pads
        places = zip(layer.size, layer.stride, kernel, (top + bottom, left + right), layer.dilation, strict=True)
        area = [(size - 1) * stride + apart * (side - 1) + 1 - pads for size, stride, side, pads, apart in places]
        window: dict[str, Any] = {
            "strides": list(layer.stride),
            "pads": list(layer.pads),
            "dilations": list(layer.dilation),
        }
        node = helper.make_node("Conv", ["x", "weight"], ["y"], group=_groups(layer, inputs), **window)
        shape, weight = (1, inputs, *area), np.ones((outputs, layer.columns(inputs), *kernel), np.float32)
    else:
        node = helper.make_node("Gemm", ["x", "weight"], ["y"], transB=1)
        shape, weight = (1, inputs), np.ones((outputs, inputs), np.float32)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSETS[""])], ir_version=IR_VERSION
    )
    return to_bytes(model), np.ones(shape, np.float32)


def _groups(layer: Convolution, inputs: int) -> int:
    return inputs if layer.depthwise else layer.groups


def _measure_ms(model: bytes, x: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    session.run(None, feed)
    shortest, runs, end = float("inf"), 0, time.perf_counter() + MIN_MEASUREMENT_S
    while runs < MIN_RUNS or time.perf_counter() < end:
        started = time.perf_counter()
        session.run(None, feed)
        shortest, runs = min(shortest, time.perf_counter() - started), runs + 1
    return 1e3 * shortest
