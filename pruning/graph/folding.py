"""Fold normalisation into the preceding convolution: μ' = μ·γ/s, σ' = σ·|γ|/s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pruning.graph.network import Add, Convolution, Network, Node, Normalisation, sources
from training.bayesian.posterior import GaussianWeight


@dataclass(frozen=True)
class Folding:
    """The folded network, and the factors γ/s [out] by the convolution that normalisation was folded into."""

    network: Network
    factors: Mapping[str, Tensor]

    def carry(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same draw of the weights for the folded network."""
        return {
            name: weight * self.factors[name][:, None, None, None] if name in self.factors else weight
            for name, weight in weights.items()
        }


def fold(network: Network) -> Folding:
    """Fold every normalisation that is the only reader of a convolution; others stay."""
    readers: dict[str, int] = {}
    for node in network.nodes:
        for name in sources(node):
            readers[name] = readers.get(name, 0) + 1
    made: dict[str, Node] = {}
    factors: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    for node in network.nodes:
        moved = _reading(node, renamed)
        before = made.get(moved.source)
        if isinstance(moved, Normalisation) and isinstance(before, Convolution) and readers[before.name] == 1:
            made[before.name] = _folded(before, moved)
            factors[before.name] = moved.factor
            renamed[moved.name] = before.name
        else:
            made[moved.name] = moved
    return Folding(Network(network.pixels, tuple(made.values())), factors)


def _folded(convolution: Convolution, norm: Normalisation) -> Convolution:
    factor = norm.factor[:, None, None, None]
    weight = GaussianWeight(convolution.weight.mean * factor, convolution.weight.scale * factor.abs())
    return replace(convolution, weight=weight, bias=convolution.bias * norm.factor + norm.shift)


def _reading(node: Node, renamed: Mapping[str, str]) -> Node:
    moved = replace(node, source=renamed.get(node.source, node.source))
    return replace(moved, other=renamed.get(moved.other, moved.other)) if isinstance(moved, Add) else moved
