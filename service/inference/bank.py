"""The draws of a level, as networks that are ready to run.

Drawing weights inside the graph at each run costs more than the convolutions they feed. So each draw is made once and
kept. A pack is one graph with `size` draws of the network side by side, which share what does not depend on the draw;
that spares the calls of `size` graphs, and gives the same bits as one graph for each.

The noise of a draw: a function of the version's content, the draw's number and the weight, and of nothing else.
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

# What a session takes beside its weights (measured).
SESSION_BYTES = 64 * 2**10


class Bank:
    """Networks drawn from one artifact, built when they are first needed and kept; pack n has draws n·size and on.

    `shared` is what comes before them, `wide` the same on several threads, where that is of use.
    """

    def __init__(self, artifact: Artifact, key: str, size: int = 1) -> None:
        self.artifact, self.key, self.size = artifact, key, size
        self.form = quantize(artifact)
        self.split: Split = split(self.form.graph, self.form.names)
        self.shared = Session(self.split.shared)
        self.wide: Session | None = None
        self.packs: list[Session] = []
        self._drawn_bytes = sum(
            weight.mean.size if weight.name in self.form.layers else weight.mean.nbytes for weight in artifact.weights
        )
        self._shared_bytes = sum(len(tensor.raw_data) for tensor in self.split.shared.graph.initializer)
        self.lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """About what the sessions take in memory: weights, the same laid out anew, and the rest of a session."""
        return len(self.packs) * self._pack_bytes + self._fixed_bytes

    def bytes_of(self, draws: int) -> int:
        """What `nbytes` is with so many draws."""
        return -(-draws // self.size) * self._pack_bytes + self._fixed_bytes

    def draws_in(self, nbytes: int) -> int:
        """As many draws as fit into so many bytes."""
        return max(0, (nbytes - self._fixed_bytes) // self._pack_bytes) * self.size

    @property
    def _pack_bytes(self) -> int:
        return 2 * self._drawn_bytes * self.size + SESSION_BYTES

    @property
    def _fixed_bytes(self) -> int:
        return (1 if self.wide is None else 2) * (2 * self._shared_bytes + SESSION_BYTES)

    def weights(self, draw: int) -> dict[str, FloatArray]:
        """The weights of one draw, by name."""
        return {
            weight.name: weight.mean + weight.scale * noise(self.key, draw, number, weight.mean.shape)
            for number, weight in enumerate(self.artifact.weights)
        }

    @property
    def draws(self) -> int:
        """As many as there are."""
        return len(self.packs) * self.size

    def fill(self, draws: int, workers: Executor, enough: Callable[[int], bool] | None = None) -> float:
        """Build what the first `draws` draws lack, on `workers`; returns the seconds that it took, zero for nothing.

        Nobody who needs no new pack waits for those that do. With one pack or more it ends as soon as so many draws are
        `enough`, which is asked after each.
        """
        count = -(-draws // self.size)
        if len(self.packs) >= count:
            return 0.0
        with self.lock:
            missing, begun = range(len(self.packs), count), perf_counter()
            building = [workers.submit(self.build, number) for number in missing]
            try:
                for pack in building:
                    if self.packs and enough is not None and enough(self.draws):
                        break
                    self.packs.append(pack.result())
            finally:
                for pack in building:
                    pack.cancel()
            return perf_counter() - begun if missing else 0.0

    def build(self, number: int) -> Session:
        """One pack, ready to run; its outputs are logits float32 [N, K], one a draw."""
        draws = range(number * self.size, (number + 1) * self.size)
        return Session(side_by_side(self.split.drawn, [self.form.constants(self.weights(draw)) for draw in draws]))


def noise(key: str, draw: int, weight: int, shape: tuple[int, ...]) -> FloatArray:
    """Standard normal noise float32 for one weight of one draw; `key` is hexadecimal, of 32 digits or more.

    Draws come in antithetic pairs: an odd draw has the noise of the even one before it, negated. What is linear in the
    noise cancels in a pair's mean. From a counter-based generator (Philox) every replica has the same draws.
    """
    words = np.frombuffer(bytes.fromhex(key)[:16], "<u8")
    pair, second = divmod(draw, 2)
    counter = np.array([0, 0, weight, pair], np.uint64)
    values = np.random.Generator(np.random.Philox(counter=counter, key=words)).standard_normal(shape, np.float32)
    return -values if second else values
