"""The engine and its bank against the bare file, and against themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from scipy.special import softmax

from service.inference.artifact import Artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from service.inference.session import Session, TimeLimit
from service.types import Arrays, FloatArray
from tests.support.engines import KEY


class CountingSession(Session):
    """A session that counts its runs."""

    runs = 0

    def run(self, feed: Arrays, limit: TimeLimit | None = None) -> list[FloatArray]:
        """As it is, counted."""
        self.runs += 1
        return super().run(feed, limit)


def test_what_is_shared_may_take_more_threads(zoo_level: Artifact, builders: ThreadPoolExecutor) -> None:
    """The same bits, and used only by who is alone."""
    engine = Engine(Bank(zoo_level, KEY), builders)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    narrow, before = engine.shared(pixels), engine.bank.nbytes
    assert max(array.ndim for array in narrow) == 4
    (prefix,) = engine.bank.prefixes
    prefix.parallel = wide = CountingSession(prefix.graph, 2)
    assert (prefix.session.threads, wide.threads) == (1, 2)
    assert engine.bank.nbytes > before
    for one, other in zip(narrow, engine.shared(pixels, alone=True), strict=True):
        np.testing.assert_array_equal(one, other)
    engine.shared(pixels)
    assert wide.runs == 1


def test_bare_file_draws_without_our_code(
    data: bytes, artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor
) -> None:
    """The file alone, in ONNX Runtime: two runs differ, and the mean of 2,000 agrees with the engine's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options)
    runs = np.stack([session.run(None, {"images": images})[0] for _ in range(2000)])
    assert np.abs(runs[0] - runs[1]).max() > 1e-3
    ours = Engine(Bank(artifact, KEY, 4), builders).draws(images, 512)
    bare_p, our_p = softmax(runs, -1), softmax(ours, -1)
    error = np.sqrt(bare_p.var(0) / len(bare_p) + our_p.var(0) / len(our_p))
    assert (np.abs(bare_p.mean(0) - our_p.mean(0)) < 5 * error + 1e-4).all()
