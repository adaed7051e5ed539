"""Bank of posterior draws of a level, kept as networks that are ready to run.

Drawing weights inside the graph at each run costs more than the convolutions they feed, so each draw is made once and
kept. A block is one graph with `size` draws of the network side by side, behind the deterministic prefix that they
share: it saves the calls of `size` graphs, and its logits are bit-identical to theirs.

The noise of a draw is that of `model_store.onnx_file.draws`, a function of its key and number; draws take turns through
the members of a mixture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter

from model_store.onnx_file.draws import member_and_noise
from service.inference.artifact import Artifact
from service.inference.footprint import Footprint
from service.inference.member_networks import Features, MemberNetworks, Prefix
from service.inference.session import Session, TimeLimit
from service.types import FloatArray

# Blocks that are built, and measured, together.
GROUP, FEWEST_MEASURED = 16, 4
# Copies of a draw's weights while its block is built: drawn, in the graph, serialized, and parsed.
COPIES = 4


class Bank:
    """Draws of one artifact, built on first use and kept; block n holds draws n·size to (n+1)·size - 1.

    `prefixes` are the deterministic parts before them, one a member unless they are the same; the features that they
    compute lie one after the other. A block of a mixture has one draw, as the next draw is of another member.
    """

    def __init__(self, artifact: Artifact, key: str, size: int = 1, limit: TimeLimit | None = None) -> None:
        if len(artifact.members) > 1 and size > 1:
            raise ValueError(f"a block of a mixture has one draw, got {size}")
        self.artifact, self.key, self.size = artifact, key, size
        self.members = tuple(map(MemberNetworks, artifact.members))
        self.prefixes: list[Prefix] = []
        self._features = [self._features_of(member, limit) for member in self.members]
        self._estimates = [member.estimate_block_bytes(size) for member in self.members]
        # Measured of blocks of all members together, of which each takes the share that was estimated.
        self._footprint = Footprint(sum(self._estimates) // len(self._estimates), fewest=FEWEST_MEASURED)
        self._sources_bytes = sum(member.sources_bytes for member in self.members)
        self.blocks: list[Session] = []
        self.lock = threading.Lock()

    def _features_of(self, member: MemberNetworks, limit: TimeLimit | None) -> Features:
        """Find a member's prefix among those that are built, or build it; return where its features will be."""
        place = 0
        for prefix in self.prefixes:
            if prefix.same_as(member.split):
                return Features(prefix.boundary, slice(place, place + len(prefix.boundary)))
            place += len(prefix.boundary)
        self.prefixes.append(Prefix(member.split, limit))
        return Features(member.split.boundary, slice(place, place + len(member.split.boundary)))

    def member(self, block: int) -> int:
        """Return the member whose draws a block holds."""
        return member_and_noise(block * self.size, len(self.members))[0]

    def features(self, block: int) -> Features:
        """Return which features a block reads."""
        return self._features[self.member(block)]

    @property
    def fewest_draws(self) -> int:
        """Return the fewest draws that are built: one block, or one draw of each member."""
        return max(self.size, len(self.members))

    @property
    def nbytes(self) -> int:
        """Return the memory of the networks that are built, and of what more are built from."""
        return self.bytes_of(self.draws)

    def bytes_of(self, draws: int) -> int:
        """Return `nbytes` for a number of draws."""
        rounds, rest = divmod(-(-draws // self.size), self._blocks_in_round)
        return rounds * self._bytes_of_blocks(self._blocks_in_round) + self._bytes_of_blocks(rest) + self._fixed_bytes

    def draws_in(self, nbytes: int) -> int:
        """Return how many draws fit into a number of bytes."""
        rounds, left = divmod(max(0, nbytes - self._fixed_bytes), self._bytes_of_blocks(self._blocks_in_round))
        fitting = [blocks for blocks in range(self._blocks_in_round) if self._bytes_of_blocks(blocks) <= left]
        return (rounds * self._blocks_in_round + fitting[-1]) * self.size

    @property
    def _blocks_in_round(self) -> int:
        return self.fewest_draws // self.size

    def _bytes_of_blocks(self, count: int) -> int:
        return sum(map(self._block_bytes, range(count)))

    def _block_bytes(self, block: int) -> int:
        mean = self._footprint.estimate
        return self._footprint.nbytes * self._estimates[self.member(block)] // mean

    @property
    def building_bytes(self) -> int:
        """Estimate what building a block takes for a while, beside what it keeps."""
        return COPIES * self.size * self.artifact.draw_bytes

    @property
    def _fixed_bytes(self) -> int:
        return self._sources_bytes + sum(prefix.nbytes for prefix in self.prefixes)

    def weights(self, draw: int) -> dict[str, FloatArray]:
        """Draw the random weights of the member whose turn it is, by name."""
        member, number = member_and_noise(draw, len(self.members))
        return self.members[member].weights(self.key, number)

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

        A caller whose draws are all built never waits for others. Building stops early, with at least `fewest_draws`,
        as soon as `enough` returns true for the number of draws that are built. Raises TimeLimitError after `limit`.
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
                if self.draws >= self.fewest_draws and enough is not None and enough(self.draws):
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
        draws = range(number * self.size, (number + 1) * self.size)
        return self.members[self.member(number)].build([self.weights(draw) for draw in draws], limit)
