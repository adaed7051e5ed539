"""Bank of posterior draws of a level, kept as networks that are ready to run.

Drawing weights inside the graph at each run costs more than the convolutions they feed, so each draw is made once and
kept. A block is one graph with `size` draws of the network side by side, behind the deterministic prefix that they
share: it saves the calls of `size` graphs, and its logits are bit-identical to theirs.

The noise of a draw is that of `model_store.onnx_file.draws`, a function of its key and number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter

from model_store.onnx_file.draws import noise
from service.inference.artifact import Artifact
from service.inference.footprint import Footprint, estimate_session_bytes, graph_bytes
from service.inference.graph import Split, side_by_side, split
from service.inference.quantization import quantize
from service.inference.session import Session, TimeLimit
from service.types import FloatArray

# Blocks that are built, and measured, together.
GROUP, FEWEST_MEASURED = 16, 4
# Copies of a draw's weights while its block is built: drawn, in the graph, serialized, and parsed.
COPIES = 4


class Bank:
    """Draws of one artifact's network, built on first use and kept; block n holds draws n·size to (n+1)·size - 1.

    `prefix` is the deterministic part before them, `parallel_prefix` the same on several threads, where that is faster.
    """

    def __init__(self, artifact: Artifact, key: str, size: int = 1, limit: TimeLimit | None = None) -> None:
        self.artifact, self.key, self.size = artifact, key, size
        self.quantized = quantize(artifact)
        self.split: Split = split(self.quantized.graph, self.quantized.names)
        self._footprint, self._prefix_footprint = self._estimates()
        with self._prefix_footprint.measured() as built:
            self.prefix = Session(self.split.prefix, limit=limit)
            built.append(self.prefix)
        graphs = (self.quantized.graph, self.split.prefix, self.split.drawn)
        self._sources_bytes = artifact.nbytes + sum(map(graph_bytes, graphs))
        self.parallel_prefix: Session | None = None
        self.blocks: list[Session] = []
        self.lock = threading.Lock()

    def _estimates(self) -> tuple[Footprint, Footprint]:
        """Estimate a block and the prefix."""
        weights, layers, drawn = self.artifact.weights, self.quantized.layers, self.split.drawn
        random = sum(weight.mean.size if weight.name in layers else weight.mean.nbytes for weight in weights)
        block = estimate_session_bytes(self.size * random + graph_bytes(drawn), self.size * len(drawn.graph.node))
        prefix = estimate_session_bytes(graph_bytes(self.split.prefix), len(self.split.prefix.graph.node))
        return Footprint(block, fewest=FEWEST_MEASURED), Footprint(prefix, fewest=1)

    @property
    def nbytes(self) -> int:
        """Return the memory of the networks that are built, and of what more are built from."""
        return self.bytes_of(self.draws)

    def bytes_of(self, draws: int) -> int:
        """Return `nbytes` for a number of draws."""
        return -(-draws // self.size) * self._footprint.nbytes + self._fixed_bytes

    def draws_in(self, nbytes: int) -> int:
        """Return how many draws fit into a number of bytes."""
        return max(0, (nbytes - self._fixed_bytes) // self._footprint.nbytes) * self.size

    @property
    def building_bytes(self) -> int:
        """Estimate what building a block takes for a while, beside what it keeps."""
        return COPIES * self.size * sum(weight.mean.nbytes for weight in self.artifact.weights)

    @property
    def _fixed_bytes(self) -> int:
        prefixes = 1 if self.parallel_prefix is None else 2
        return self._sources_bytes + prefixes * self._prefix_footprint.nbytes

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

    def fill(
        self,
        draws: int,
        workers: Executor,
        enough: Callable[[int], bool] | None = None,
        limit: TimeLimit | None = None,
    ) -> float:
        """Build the missing blocks of the first `draws` draws on `workers`; return the seconds taken, 0 for none.

        A caller whose draws are all built never waits for others. Building stops early, with at least one block, as
        soon as `enough` returns true for the number of draws that are built. Raises TimeLimitError after `limit`.
        """
        count = -(-draws // self.size)
        if len(self.blocks) >= count:
            return 0.0
        with self.lock:
            begun, complete = perf_counter(), True
            while complete and (missing := range(len(self.blocks), count)[:GROUP]):
                with self._footprint.measured() as built:
                    complete = self._fill(missing, workers, enough, limit)
                    built.extend(missing if complete else ())
            return perf_counter() - begun

    def _fill(
        self, numbers: range, workers: Executor, enough: Callable[[int], bool] | None, limit: TimeLimit | None
    ) -> bool:
        """Build some blocks; return whether all of them were wanted."""
        building = [workers.submit(self.build, number, limit) for number in numbers]
        try:
            for block in building:
                if self.blocks and enough is not None and enough(self.draws):
                    return False
                self.blocks.append(block.result())
        finally:
            for block in building:
                block.cancel()
        return True

    def shrink(self, draws: int) -> None:
        """Drop the blocks beyond the first `draws` draws, unless more are being built."""
        if self.lock.acquire(blocking=False):
            try:
                del self.blocks[-(-draws // self.size) :]
            finally:
                self.lock.release()

    def build(self, number: int, limit: TimeLimit | None = None) -> Session:
        """Build one block, ready to run; its outputs are logits float32 [N, K], one for each draw."""
        draws = range(number * self.size, (number + 1) * self.size)
        constants = [self.quantized.constants(self.weights(draw)) for draw in draws]
        return Session(side_by_side(self.split.drawn, constants), limit=limit)
