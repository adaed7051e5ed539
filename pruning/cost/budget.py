"""Define a level's budget, and the cost of a layer of given widths in each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pruning.cost.latency import Timings
from pruning.errors import LevelError
from pruning.graph.network import Network
from pruning.graph.nodes import Weighted
from pruning.level import Level

# The cost of a layer with the given numbers of output and input channels.
Cost: TypeAlias = "Callable[[Weighted, int, int], float]"
UNITS = {"p": "weights", "x": "multiply-adds", "t": "milliseconds"}


@dataclass(frozen=True)
class Budget:
    """An upper limit in the unit of a level's kind: random weights, multiply-adds or milliseconds per image."""

    kind: str
    limit: float

    @classmethod
    def for_level(cls, level: Level, weights: int, multiply_adds: int) -> Budget:
        """Compute a level's budget from the dense network's random weights and multiply-adds."""
        if level.kind == "p":
            return cls("p", weights * (1 - level.amount / 100))
        if level.kind == "x":
            return cls("x", multiply_adds / level.amount)
        if level.kind == "t":
            return cls("t", level.amount / 1_000)
        raise LevelError("the dense level has no budget: it keeps everything")

    @property
    def unit(self) -> str:
        """Return the unit's name for messages."""
        return UNITS[self.kind]

    def interpolate(self, initial: float, progress: float) -> Budget:
        """Return the budget at `progress` from 0 to 1, on a cubic schedule from `initial` (Zhu and Gupta 2017)."""
        return Budget(self.kind, self.limit + max(initial - self.limit, 0.0) * (1 - progress) ** 3)


def layer_costs(timings: Timings) -> Mapping[str, Cost]:
    """Return the cost function of a layer for each kind of budget."""

    def weights(layer: Weighted, outputs: int, inputs: int) -> float:
        return outputs * layer.columns(inputs) * layer.weight.mean[0, 0].numel()

    def multiply_adds(layer: Weighted, outputs: int, inputs: int) -> float:
        return weights(layer, outputs, inputs) * layer.positions

    return {"p": weights, "x": multiply_adds, "t": timings.layer_ms}


def total_cost(network: Network, cost: Cost) -> float:
    """Sum the cost of all layers of a network at their present widths."""
    widths = network.widths
    return sum(cost(layer, widths[name], widths[layer.source]) for name, layer in network.weighted.items())
