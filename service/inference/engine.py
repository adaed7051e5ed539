"""Run the networks of a level's bank, and measure what a pass takes.

    features = engine.shared(images)          once an image: what all draws have in common
    logits   = engine.run(block, features)    once for each block of draws

`draws` does both for a fixed number of draws; `service.scheduling.scheduler` decides how many each image needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from service.inference.bank import Bank
from service.inference.session import TimeLimit
from service.stats import IMAGES, Histogram
from service.types import Arrays, FloatArray

# Weight of the newest measurement in the running means of times.
EMA_ALPHA = 0.1


class Engine:
    """Compute the draws of one level. Safe to use from several threads.

    `seconds_per_draw` and `seconds_shared` are running means for one image on one thread, zero before the first
    measurement. `batch_sizes` counts images in a pass, as the scheduler batches them.
    """

    def __init__(self, bank: Bank, builders: Executor, batch_sizes: Histogram | None = None) -> None:
        self.bank, self.builders = bank, builders
        self.seconds_per_draw = self.seconds_shared = 0.0
        self.batch_sizes = batch_sizes or Histogram(IMAGES)

    def prepare(self, draws: int, enough: Callable[[int], bool] | None = None, limit: TimeLimit | None = None) -> float:
        """Build missing networks for so many draws, or until `enough`; return the seconds that it took."""
        return self.bank.fill(draws, self.builders, enough, limit)

    def prepared(self, draws: int) -> bool:
        """Return whether the networks for so many draws are built."""
        return self.bank.draws >= draws

    def shared(
        self, images_NHWC: npt.NDArray[np.uint8], *, alone: bool = False, limit: TimeLimit | None = None
    ) -> list[FloatArray]:
        """Compute what all draws of each member have in common, from images uint8 [N, H, W, C]: arrays [N, …].

        With `alone`, when nothing else is computed, other threads may help; the bits are the same.
        """
        features, seconds = list[FloatArray](), 0.0
        for prefix in self.bank.prefixes:
            session = prefix.parallel if alone and prefix.parallel else prefix.session
            begun = time.perf_counter()
            features += session.run({"images": images_NHWC}, limit)
            seconds += session.threads * (time.perf_counter() - begun) / len(images_NHWC)
        self.seconds_shared = _moving_average(self.seconds_shared, seconds)
        return features

    def run(self, block: int, features: Sequence[FloatArray], limit: TimeLimit | None = None) -> list[FloatArray]:
        """Compute logits float32 [N, K] for each draw of a prepared block."""
        begun = time.perf_counter()
        read = self.bank.features(block)
        feed: Arrays = dict(zip(read.names, features[read.places], strict=True))
        logits = self.bank.blocks[block].run(feed, limit)
        seconds = (time.perf_counter() - begun) / (len(logits) * len(logits[0]))
        self.seconds_per_draw = _moving_average(self.seconds_per_draw, seconds)
        return logits

    def seconds(self, draws: float, *, shared: bool = True) -> float:
        """Predict the seconds for so many draws of an image on one thread, with or without their shared part."""
        return draws * self.seconds_per_draw + (self.seconds_shared if shared else 0.0)

    def draws(self, images_NHWC: npt.NDArray[np.uint8], samples: int, limit: TimeLimit | None = None) -> FloatArray:
        """Compute logits float32 [S, N, K] of images uint8 [N, H, W, C] under the first S draws, on this thread."""
        self.prepare(samples, limit=limit)
        features = self.shared(images_NHWC, limit=limit)
        blocks = range(-(-samples // self.bank.size))
        return np.stack([logits for block in blocks for logits in self.run(block, features, limit)][:samples])


def _moving_average(mean: float, seconds: float) -> float:
    return mean + (EMA_ALPHA if mean else 1.0) * (seconds - mean)
