"""Run an ONNX graph with ONNX Runtime, fully optimised, without telemetry and without idle CPU use."""

from __future__ import annotations

import os
import threading
from typing import Self

import onnx

from service.errors import ArtifactError, TimeLimitError
from service.types import Arrays, FloatArray

# ONNX Runtime reads this when it is imported, which the service does here first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime


class TimeLimit:
    """Stop ONNX Runtime, in whatever thread it loads or computes under this limit, once `seconds` have passed.

    Use it in a `with` block. It is looked at between two operators, and between two passes over a graph that is loaded.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.expired = seconds, False
        self.run_options = onnxruntime.RunOptions()
        self.run_options.log_severity_level = 4  # to be stopped is no error that a log needs
        self._loading: set[onnxruntime.SessionOptions] = set()
        self._timer = threading.Timer(seconds, self.expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, options: onnxruntime.SessionOptions) -> None:
        """Stop the loading of a session with these options, too."""
        self._loading.add(options)
        if self.expired:
            self.expire()

    def forget(self, options: onnxruntime.SessionOptions) -> None:
        """Stop watching a session that is loaded."""
        self._loading.discard(options)

    def check(self) -> None:
        """Raise TimeLimitError once the time has passed."""
        if self.expired:
            raise TimeLimitError(f"its networks are not built and tried within {self.seconds:g} s")

    def expire(self) -> None:
        """Stop now."""
        self.expired = True
        self.run_options.terminate = True
        for options in list(self._loading):
            options.set_load_cancellation_flag(True)


class Session:
    """Inference session on the calling thread, or on `threads` including it; safe to share between threads.

    Inputs and outputs are arrays by name. Raises ArtifactError where ONNX Runtime cannot load the graph, and
    TimeLimitError where it does not within `limit`.
    """

    def __init__(self, model: onnx.ModelProto, threads: int = 1, limit: TimeLimit | None = None) -> None:
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Return memory after each run: an arena would keep that of the largest batch for good.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        if limit is not None:
            limit.check()
            limit.watch(options)
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no class below Exception
            if limit is not None:
                limit.check()
            raise ArtifactError("ONNX Runtime cannot load the file") from error
        finally:
            if limit is not None:
                limit.forget(options)
        self._outputs = [output.name for output in model.graph.output]

    def run(self, feed: Arrays, limit: TimeLimit | None = None) -> list[FloatArray]:
        """Return the outputs, in the model's order; raise TimeLimitError where they take longer than `limit`."""
        if limit is None:
            outputs: list[FloatArray] = self._session.run(self._outputs, feed)
            return outputs
        try:
            return list(self._session.run(self._outputs, feed, limit.run_options))
        except Exception:
            limit.check()
            raise
