"""What a level may keep, in the unit that it is named by, and what a layer of some width costs in each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pruning.cost.latency import Timings
from pruning.errors import LevelError
from pruning.graph.network import Network, Weighted
from pruning.level import Level

# A layer, and the numbers of its output and input channels, to what it costs.
Cost: TypeAlias = "Callable[[Weighted, int, int], float]"
UNITS = {"p": "weights", "x": "multiply-adds", "t": "milliseconds"}


@dataclass(frozen=True)
class Budget:
    """At most `most` of what levels of this kind count: random weights, multiply-adds, or milliseconds of an image."""

    kind: str
    most: float

    @classmethod
    def of(cls, level: Level, weights: int, multiply_adds: int) -> Budget:
        """What a level leaves of a dense network with so many random weights and multiply-adds."""
        if level.kind == "p":
            return cls("p", weights * (1 - level.amount / 100))
        if level.kind == "x":
            return cls("x", multiply_adds / level.amount)
        if level.kind == "t":
            return cls("t", level.amount / 1_000)
        raise LevelError("the dense level has no budget: it keeps everything")

    @property
    def unit(self) -> str:
        """Its unit, in words."""
        return UNITS[self.kind]

    def towards(self, now: float, progress: float) -> Budget:
        """The budget on the way from `now`, cubic in progress: fast while much is redundant (Zhu and Gupta 2017)."""
        return Budget(self.kind, self.most + max(now - self.most, 0.0) * (1 - progress) ** 3)


def costs(timings: Timings) -> Mapping[str, Cost]:
    """The cost of a layer by the kind of budget."""

    def weights(layer: Weighted, outputs: int, inputs: int) -> float:
        return outputs * inputs * layer.weight.mean[0, 0].numel()

    def multiply_adds(layer: Weighted, outputs: int, inputs: int) -> float:
        return weights(layer, outputs, inputs) * layer.positions

    return {"p": weights, "x": multiply_adds, "t": timings.milliseconds}


def total(network: Network, cost: Cost) -> float:
    """What all layers of a network cost as they are."""
    widths = network.widths
    return sum(cost(layer, widths[name], widths[layer.source]) for name, layer in network.weighted.items())
