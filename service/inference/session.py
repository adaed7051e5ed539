"""Run an ONNX graph with ONNX Runtime, fully optimised, without telemetry and without idle CPU use."""

from __future__ import annotations

import os

import onnx

from service.errors import ArtifactError
from service.types import Arrays, FloatArray

# ONNX Runtime reads this when it is imported, which the service does here first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime


class Session:
    """Inference session on the calling thread, or on `threads` including it; safe to share between threads.

    Inputs and outputs are arrays by name. Raises ArtifactError where ONNX Runtime cannot load the graph.
    """

    def __init__(self, model: onnx.ModelProto, threads: int = 1) -> None:
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Return memory after each run: an arena would keep that of the largest batch for good.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no class below Exception
            raise ArtifactError("ONNX Runtime cannot load the file") from error
        self._outputs = [output.name for output in model.graph.output]

    def run(self, feed: Arrays) -> list[FloatArray]:
        """Return the outputs, in the model's order."""
        outputs: list[FloatArray] = self._session.run(self._outputs, feed)
        return outputs
