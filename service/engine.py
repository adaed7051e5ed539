"""The engine: `draws(images, samples) -> logits`, over a bank of ready networks and a few threads.

Networks run on one thread each and are spread over the workers; that beats networks on several threads, which wait
for each other.
"""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt
import onnxruntime

from service.artifact import FloatArray
from service.bank import Bank


class Engine:
    """Answers for one level. Safe to use from several threads."""

    def __init__(self, bank: Bank, workers: Executor, num_workers: int) -> None:
        self.bank, self.workers, self.num_workers = bank, workers, num_workers

    def prepare(self, samples: int) -> None:
        """Build the networks that `samples` draws need, where they are not there yet."""
        self.bank.first(samples, self.workers)

    def draws(self, images: npt.NDArray[np.uint8], samples: int) -> FloatArray:
        """Logits float32 [S, N, K] of images uint8 [N, H, W, C] under the first S networks of the bank."""
        networks = self.bank.first(samples, self.workers)
        shares = [networks[start :: self.num_workers] for start in range(min(self.num_workers, samples))]
        parts = list(self.workers.map(_run, shares, [images] * len(shares)))
        logits = np.empty((samples, *parts[0].shape[1:]), np.float32)
        for start, part in enumerate(parts):
            logits[start :: self.num_workers] = part
        return logits


def _run(networks: list[onnxruntime.InferenceSession], images: npt.NDArray[np.uint8]) -> FloatArray:
    feed = {"images": images}
    return np.stack([network.run(["logits"], feed)[0] for network in networks])
