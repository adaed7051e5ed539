"""Fold normalisation into the preceding layer: μ' = μ·γ/s, σ' = σ·|γ|/s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pruning.graph.network import Network
from pruning.graph.nodes import Node, Normalisation, Weighted, reading, sources
from training.bayesian.posterior import GaussianWeight


@dataclass(frozen=True)
class Folding:
    """The folded network, and the factors γ/s [out] by the layer that normalisation was folded into."""

    network: Network
    factors: Mapping[str, Tensor]

    def carry(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same draw of the weights for the folded network."""
        return {
            name: weight * _beside(self.factors[name], weight) if name in self.factors else weight
            for name, weight in weights.items()
        }


def fold(network: Network) -> Folding:
    """Fold every normalisation that is the only reader of a layer with weights; others stay."""
    readers: dict[str, int] = {}
    for node in network.nodes:
        for name in sources(node):
            readers[name] = readers.get(name, 0) + 1
    made: dict[str, Node] = {}
    factors: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    for node in network.nodes:
        moved = reading(node, renamed)
        before = made.get(moved.source)
        if isinstance(moved, Normalisation) and isinstance(before, Weighted) and readers[before.name] == 1:
            made[before.name] = _folded(before, moved)
            factors[before.name] = moved.factor
            renamed[moved.name] = before.name
        else:
            made[moved.name] = moved
    return Folding(Network(network.pixels, tuple(made.values())), factors)


def _folded(layer: Weighted, norm: Normalisation) -> Weighted:
    factor = _beside(norm.factor, layer.weight.mean)
    weight = GaussianWeight(layer.weight.mean * factor, layer.weight.scale * factor.abs())
    return replace(layer, weight=weight, bias=layer.bias * norm.factor + norm.shift)


def _beside(factor_O: Tensor, weight: Tensor) -> Tensor:
    return factor_O.view(-1, *(1,) * (weight.dim() - 1))
