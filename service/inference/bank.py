"""Bank of posterior draws of a level, kept as networks that are ready to run.

Drawing weights inside the graph at each run costs more than the convolutions they feed, so each draw is made once and
kept. A block is one graph with `size` draws of the network side by side, behind the deterministic prefix that they
share: it saves the calls of `size` graphs, and its logits are bit-identical to theirs.

The noise of a draw depends on the version's content, the draw's number and the weight, and on nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter

import numpy as np

from service.inference.artifact import Artifact
from service.inference.graph import Split, side_by_side, split
from service.inference.quantization import quantize
from service.inference.session import Session
from service.types import FloatArray

# Memory of a session beside its weights (measured).
SESSION_BYTES = 64 * 2**10


class Bank:
    """Draws of one artifact's network, built on first use and kept; block n holds draws n·size to (n+1)·size - 1.

    `prefix` is the deterministic part before them, `parallel_prefix` the same on several threads, where that is faster.
    """

    def __init__(self, artifact: Artifact, key: str, size: int = 1) -> None:
        self.artifact, self.key, self.size = artifact, key, size
        self.quantized = quantize(artifact)
        self.split: Split = split(self.quantized.graph, self.quantized.names)
        self.prefix = Session(self.split.prefix)
        self.parallel_prefix: Session | None = None
        self.blocks: list[Session] = []
        self._drawn_bytes = sum(
            weight.mean.size if weight.name in self.quantized.layers else weight.mean.nbytes
            for weight in artifact.weights
        )
        self._prefix_bytes = sum(len(tensor.raw_data) for tensor in self.split.prefix.graph.initializer)
        self.lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Estimate the memory of the sessions: weights, their copy in the runtime's layout, and the session itself."""
        return len(self.blocks) * self._block_bytes + self._fixed_bytes

    def bytes_of(self, draws: int) -> int:
        """Estimate `nbytes` for a number of draws."""
        return -(-draws // self.size) * self._block_bytes + self._fixed_bytes

    def draws_in(self, nbytes: int) -> int:
        """Return how many draws fit into a number of bytes."""
        return max(0, (nbytes - self._fixed_bytes) // self._block_bytes) * self.size

    @property
    def _block_bytes(self) -> int:
        return 2 * self._drawn_bytes * self.size + SESSION_BYTES

    @property
    def _fixed_bytes(self) -> int:
        return (1 if self.parallel_prefix is None else 2) * (2 * self._prefix_bytes + SESSION_BYTES)

    def weights(self, draw: int) -> dict[str, FloatArray]:
        """Draw the random weights, by name."""
        return {
            weight.name: weight.mean + weight.scale * noise(self.key, draw, number, weight.mean.shape)
            for number, weight in enumerate(self.artifact.weights)
        }

    @property
    def draws(self) -> int:
        """Return the number of draws that are built."""
        return len(self.blocks) * self.size

    def fill(self, draws: int, workers: Executor, enough: Callable[[int], bool] | None = None) -> float:
        """Build the missing blocks of the first `draws` draws on `workers`; return the seconds taken, 0 for none.

        A caller whose draws are all built never waits for others. Building stops early, with at least one block, as
        soon as `enough` returns true for the number of draws that are built.
        """
        count = -(-draws // self.size)
        if len(self.blocks) >= count:
            return 0.0
        with self.lock:
            missing, begun = range(len(self.blocks), count), perf_counter()
            building = [workers.submit(self.build, number) for number in missing]
            try:
                for block in building:
                    if self.blocks and enough is not None and enough(self.draws):
                        break
                    self.blocks.append(block.result())
            finally:
                for block in building:
                    block.cancel()
            return perf_counter() - begun if missing else 0.0

    def build(self, number: int) -> Session:
        """Build one block, ready to run; its outputs are logits float32 [N, K], one for each draw."""
        draws = range(number * self.size, (number + 1) * self.size)
        return Session(side_by_side(self.split.drawn, [self.quantized.constants(self.weights(draw)) for draw in draws]))


def noise(key: str, draw: int, weight: int, shape: tuple[int, ...]) -> FloatArray:
    """Return standard normal noise float32 for one weight of one draw; `key` is hexadecimal, of 32 digits or more.

    Draws come in antithetic pairs: an odd draw has the noise of the even one before it, negated, so that terms linear
    in the noise cancel in a pair's mean. The generator is counter-based (Philox): all replicas have the same draws.
    """
    words = np.frombuffer(bytes.fromhex(key)[:16], "<u8")
    pair, second = divmod(draw, 2)
    counter = np.array([0, 0, weight, pair], np.uint64)
    values = np.random.Generator(np.random.Philox(counter=counter, key=words)).standard_normal(shape, np.float32)
    return -values if second else values
