"""The draws of a level, as networks that are ready to run.

Drawing weights inside the graph at each run costs more than the convolutions they feed. So each draw is made once and
kept. A pack is one graph with `size` draws of the network side by side, which share what does not depend on the draw;
that spares the calls of `size` graphs, and gives the same bits as one graph for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter

import onnx

from service.artifact import Artifact, FloatArray
from service.noise import noise
from service.quantization import form
from service.session import Arrays, Session, with_constants
from service.split import Split, split

# What a session takes beside its weights (measured).
SESSION_BYTES = 64 * 2**10


class Bank:
    """Networks drawn from one artifact, built when they are first needed and kept; pack n has draws n·size and on.

    `shared` is what comes before them, `wide` the same on several threads, where that is of use.
    """

    def __init__(self, artifact: Artifact, key: str, size: int = 1) -> None:
        self.artifact, self.key, self.size = artifact, key, size
        self.form = form(artifact)
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


def side_by_side(graph: onnx.ModelProto, draws: list[Arrays]) -> onnx.ModelProto:
    """One graph with the network under each draw's weights, each with an output of its own, in their order."""
    own = {name for node in graph.graph.node for name in node.output} | draws[0].keys()
    values = {f"{name}@{n}": value for n, weights in enumerate(draws) for name, value in weights.items()}
    model = with_constants(graph, values)
    del model.graph.node[:], model.graph.output[:]
    for number in range(len(draws)):
        for part, copies in ((graph.graph.node, model.graph.node), (graph.graph.output, model.graph.output)):
            for each in part:
                copies.add().CopyFrom(each)
        for node in model.graph.node[-len(graph.graph.node) :]:
            node.name = f"{node.name}@{number}"
            node.input[:] = [f"{name}@{number}" if name in own else name for name in node.input]
            node.output[:] = [f"{name}@{number}" for name in node.output]
        model.graph.output[-1].name = f"logits@{number}"
    return model
