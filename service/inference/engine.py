"""The engine of a level: the networks of its bank, and what a pass of them takes.

    features = engine.shared(images)          once an image
    logits   = engine.run(pack, features)     once for each pack of draws

`draws` does both for a fixed number of draws; `service.scheduling.scheduler` decides itself how many an image needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from service.inference.bank import Bank
from service.stats import IMAGES, Histogram
from service.types import Arrays, FloatArray

# How fast the pace follows what is measured.
EMA_ALPHA = 0.1


class Engine:
    """Answers for one level. Safe to use from several threads."""

    def __init__(self, bank: Bank, builders: Executor) -> None:
        self.bank, self.builders = bank, builders
        # Seconds that a draw of an image takes on one thread, and what draws share; guesses until they are measured.
        self.pace = self.shared_pace = 0.0
        # Images in its passes, as the scheduler makes them.
        self.batches = Histogram(IMAGES)

    def prepare(self, draws: int, enough: Callable[[int], bool] | None = None) -> float:
        """Build the networks that so many draws need, or `enough`, where they are not there; returns the seconds."""
        return self.bank.fill(draws, self.builders, enough)

    def prepared(self, draws: int) -> bool:
        """Whether the networks for so many draws are there."""
        return self.bank.draws >= draws

    def shared(self, images_NHWC: npt.NDArray[np.uint8], *, alone: bool = False) -> list[FloatArray]:
        """What every draw has in common, from images uint8 [N, H, W, C]: arrays [N, …].

        `alone` where nothing else is computed meanwhile: then other threads may help, and the bits are the same.
        """
        session = self.bank.parallel_prefix if alone and self.bank.parallel_prefix else self.bank.prefix
        begun = time.perf_counter()
        features = session.run({"images": images_NHWC})
        seconds = session.threads * (time.perf_counter() - begun) / len(images_NHWC)
        self.shared_pace = _followed(self.shared_pace, seconds)
        return features

    def run(self, pack: int, features: Sequence[FloatArray]) -> list[FloatArray]:
        """Logits float32 [N, K] for each draw of a pack that is prepared."""
        begun = time.perf_counter()
        feed: Arrays = dict(zip(self.bank.split.boundary, features, strict=True))
        logits = self.bank.blocks[pack].run(feed)
        seconds = (time.perf_counter() - begun) / (len(logits) * len(logits[0]))
        self.pace = _followed(self.pace, seconds)
        return logits

    def seconds(self, draws: float, *, shared: bool = True) -> float:
        """Seconds that so many draws of an image should take on one thread, with or without what they share."""
        return draws * self.pace + (self.shared_pace if shared else 0.0)

    def draws(self, images_NHWC: npt.NDArray[np.uint8], samples: int) -> FloatArray:
        """Logits float32 [S, N, K] of images uint8 [N, H, W, C] under the first S draws, on this thread."""
        self.prepare(samples)
        features = self.shared(images_NHWC)
        packs = range(-(-samples // self.bank.size))
        return np.stack([logits for pack in packs for logits in self.run(pack, features)][:samples])


def _followed(pace: float, seconds: float) -> float:
    """A pace after one more measurement."""
    return pace + (EMA_ALPHA if pace else 1.0) * (seconds - pace)
