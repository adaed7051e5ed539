"""Make the networks of one member of a level: its draws, and the deterministic prefix before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_store.onnx_file.draws import noise
from service.inference.artifact import Member
from service.inference.footprint import Footprint, estimate_session_bytes, graph_bytes
from service.inference.graph import Split, side_by_side, split
from service.inference.quantization import quantize
from service.inference.session import Session, TimeLimit
from service.types import FloatArray


class Prefix:
    """The part of a network that all draws share: `parallel` is the same on several threads, where that is faster."""

    def __init__(self, parts: Split, limit: TimeLimit | None = None) -> None:
        self.graph, self.boundary = parts.prefix, parts.boundary
        estimate = estimate_session_bytes(graph_bytes(self.graph), len(self.graph.graph.node))
        self._footprint = Footprint(estimate, fewest=1)
        with self._footprint.measured() as built:
            self.session = Session(self.graph, limit=limit)
            built.append(self.session)
        self.parallel: Session | None = None

    @property
    def nbytes(self) -> int:
        """Return the memory of its sessions."""
        return (1 if self.parallel is None else 2) * self._footprint.nbytes

    def same_as(self, parts: Split) -> bool:
        """Return whether another network has the same prefix, bit for bit."""
        return self.graph == parts.prefix and self.boundary == parts.boundary


@dataclass(frozen=True)
class Features:
    """Locate a member's features among those of all members: names of the tensors, and their places."""

    names: tuple[str, ...]
    places: slice


class MemberNetworks:
    """Networks of one member; a block is one graph with several draws side by side, behind the prefix."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.quantized = quantize(member)
        self.split: Split = split(self.quantized.graph, self.quantized.names)

    @property
    def sources_bytes(self) -> int:
        """Return the memory of what networks are built from."""
        graphs = (self.quantized.graph, self.split.prefix, self.split.drawn)
        return self.member.nbytes + sum(map(graph_bytes, graphs))

    def estimate_block_bytes(self, size: int) -> int:
        """Estimate the memory of a block of so many draws from above."""
        weights, layers, drawn = self.member.weights, self.quantized.layers, self.split.drawn
        random = sum(weight.mean.size if weight.name in layers else weight.mean.nbytes for weight in weights)
        return estimate_session_bytes(size * random + graph_bytes(drawn), size * len(drawn.graph.node))

    def weights(self, key: str, number: int) -> dict[str, FloatArray]:
        """Draw the random weights with noise of a number, by name."""
        return {
            weight.name: weight.mean + weight.scale * noise(key, number, place, weight.mean.shape)
            for place, weight in enumerate(self.member.weights)
        }

    def build(self, draws: Sequence[Mapping[str, FloatArray]], limit: TimeLimit | None) -> Session:
        """Build a block of draws of the weights, ready to run; its outputs are logits float32 [N, K], one for each."""
        constants = [self.quantized.constants(weights) for weights in draws]
        return Session(side_by_side(self.split.drawn, constants), limit=limit)
