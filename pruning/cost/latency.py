"""How long a network takes, measured with ONNX Runtime on one thread of this machine.

A table of single layers, measured as they are asked for, says what narrowing one would save; a whole network is
measured whole. What is kept is the shortest of some runs: other work on the machine only ever adds.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from model_store.onnx_file.format import IR_VERSION, OPSETS
from pruning.errors import StudyError
from pruning.graph.network import Convolution, Linear, Network, Weighted
from pruning.graph.onnx_export import export_onnx, to_bytes
from training.atomic import write_atomically
from training.bayesian.posterior import GaussianWeight

# It reports its use to its makers unless it is told not to before it is imported, which is here for all of pruning.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SECONDS, RUNS = 0.03, 10


@dataclass
class Timings:
    """Milliseconds of single layers for one image, by what was measured."""

    known: dict[str, float] = field(default_factory=dict)

    def milliseconds(self, layer: Weighted, outputs: int, inputs: int) -> float:
        """Of the layer, were it that wide."""
        sizes = [outputs, inputs, layer.positions]
        if isinstance(layer, Convolution):
            sizes += [*layer.weight.mean.shape[2:], *layer.stride, *layer.padding, *layer.size]
        key = "x".join(map(str, sizes))
        if key not in self.known:
            self.known[key] = _milliseconds(*_single(layer, outputs, inputs))
        return self.known[key]

    def save(self, path: Path) -> None:
        """Write what is known, atomically."""
        write_atomically(path, json.dumps(self.known, indent=1, sort_keys=True).encode())

    @classmethod
    def load(cls, path: Path) -> Timings:
        """Read what `save` wrote, nothing where there is no file; raise StudyError for another file."""
        if not path.exists():
            return cls()
        try:
            return cls({str(key): float(value) for key, value in json.loads(path.read_bytes()).items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StudyError(f"{path} is no table of timings: {error}") from error


def milliseconds(network: Network) -> float:
    """Of one draw of the whole network for one image, on one thread."""
    drawn = tuple(
        replace(node, weight=GaussianWeight(node.weight.mean, torch.zeros_like(node.weight.mean)))
        if isinstance(node, Convolution | Linear)
        else node
        for node in network.nodes
    )
    pixels = network.pixels
    image = np.zeros((1, pixels.height, pixels.width, pixels.channels), np.uint8)
    return _milliseconds(to_bytes(export_onnx(Network(pixels, drawn))), image)


def _single(layer: Weighted, outputs: int, inputs: int) -> tuple[bytes, np.ndarray]:
    """A model of the layer alone, and an input for it."""
    if isinstance(layer, Convolution):
        kernel = tuple(layer.weight.mean.shape[2:])
        places = zip(layer.size, layer.stride, kernel, layer.padding, strict=True)
        area = [(size - 1) * stride + side - 2 * pad for size, stride, side, pad in places]
        pads = list(layer.padding) * 2
        node = helper.make_node("Conv", ["x", "weight"], ["y"], strides=list(layer.stride), pads=pads)
        shape, weight = (1, inputs, *area), np.ones((outputs, inputs, *kernel), np.float32)
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


def _milliseconds(model: bytes, x: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    session.run(None, feed)
    shortest, runs, end = float("inf"), 0, time.perf_counter() + SECONDS
    while runs < RUNS or time.perf_counter() < end:
        started = time.perf_counter()
        session.run(None, feed)
        shortest, runs = min(shortest, time.perf_counter() - started), runs + 1
    return 1e3 * shortest
