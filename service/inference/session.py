"""An ONNX graph made ready to run: fully optimised, and silent between runs."""

from __future__ import annotations

import os

import onnx
import onnxruntime

from service.errors import ArtifactError
from service.types import Arrays, FloatArray

# It reports its use to its makers unless it is told not to before it is imported, which is here for all of the service.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class Session:
    """A network on the calling thread, or on `threads` with it; safe to run from several threads at once.

    It takes and gives arrays by name. Raises ArtifactError where ONNX Runtime cannot load it.
    """

    def __init__(self, model: onnx.ModelProto, threads: int = 1) -> None:
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What a run needed goes back, so that one large batch does not stay for good.
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
        """The outputs, in the model's order."""
        found: list[FloatArray] = self._session.run(self._outputs, feed)
        return found
