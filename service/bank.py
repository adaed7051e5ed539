"""The draws of a level: one ready network each.

Drawing weights inside the graph at each run costs more than the convolutions they feed. So each draw is made once,
becomes a plain network, and is kept. Its noise comes from a counter-based generator (Philox) keyed by the content
digest of the version and counted by draw and weight, so that every replica has the same networks.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from service.artifact import Artifact, FloatArray
from service.errors import ArtifactError


def noise(key: str, draw: int, weight: int, shape: tuple[int, ...]) -> FloatArray:
    """Standard normal noise float32 for one weight of one draw; `key` is hexadecimal, of 32 digits or more."""
    words = np.frombuffer(bytes.fromhex(key)[:16], "<u8")
    counter = np.array([0, 0, weight, draw], np.uint64)
    generator = np.random.Generator(np.random.Philox(counter=counter, key=words))
    return generator.standard_normal(shape, np.float32)


class Bank:
    """Networks drawn from one artifact, built when they are first needed and kept."""

    def __init__(self, artifact: Artifact, key: str) -> None:
        self.artifact, self.key = artifact, key
        self.networks: list[onnxruntime.InferenceSession] = []
        self.lock = threading.Lock()

    def weights(self, draw: int) -> dict[str, FloatArray]:
        """The weights of one draw, by name."""
        return {
            weight.name: weight.mean + weight.scale * noise(self.key, draw, number, weight.mean.shape)
            for number, weight in enumerate(self.artifact.weights)
        }

    def first(self, count: int, workers: Executor) -> list[onnxruntime.InferenceSession]:
        """The first `count` networks; those that are missing are built on `workers`.

        Nobody who needs no new network waits for those that do.
        """
        if len(self.networks) < count:
            with self.lock:
                missing = range(len(self.networks), count)
                for network in workers.map(self._build, missing):
                    self.networks.append(network)
        return self.networks[:count]

    def _build(self, draw: int) -> onnxruntime.InferenceSession:
        return plain_network(self.artifact.graph, self.weights(draw))


def plain_network(graph: onnx.ModelProto, weights: dict[str, FloatArray]) -> onnxruntime.InferenceSession:
    """The graph with these weights as constants: one thread, no spinning, fully optimised."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no class below Exception
        raise ArtifactError("ONNX Runtime cannot load the file") from error
