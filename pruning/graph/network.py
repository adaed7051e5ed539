"""Represent a Bayesian network as a graph of few kinds of nodes, for folding, compaction, prediction and export.

Nodes are in topological order. The graph is immutable: transformations return a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from model_store.onnx_file.format import IMAGES
from pruning.graph.nodes import Concat, Flatten, Linear, Node, Weighted, sources
from pruning.graph.rounding import Rounding
from training.data.dataset import Pixels


@dataclass(frozen=True)
class Network:
    """Nodes from the tensor `images` to the logits, the last node's tensor.

    `roundings` are those of tensors computed in eight bits, by name. `fixed` says why the plain module cannot do
    without channels of a tensor, by the tensor's name. Transformations drop both, but for `posterior_mean`.
    """

    pixels: Pixels
    nodes: tuple[Node, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """Return the name of the tensor of logits."""
        return self.nodes[-1].name

    @property
    def weighted(self) -> dict[str, Weighted]:
        """Return the nodes with a weight, by name."""
        return {node.name: node for node in self.nodes if isinstance(node, Weighted)}

    @property
    def widths(self) -> dict[str, int]:
        """Return the number of channels of each tensor."""
        widths = {IMAGES: self.pixels.channels}
        for node in self.nodes:
            if isinstance(node, Weighted):
                widths[node.name] = len(node.bias)
            elif isinstance(node, Flatten):
                widths[node.name] = widths[node.source] * node.area
            elif isinstance(node, Concat):
                widths[node.name] = sum(widths[name] for name in sources(node))
            else:
                widths[node.name] = widths[node.source]
        return widths

    @property
    def vectors(self) -> set[str]:
        """Return the names of the tensors [N, C]; all others are images [N, C, H, W]."""
        vectors: set[str] = set()
        for node in self.nodes:
            if isinstance(node, Flatten | Linear) or node.source in vectors:
                vectors.add(node.name)
        return vectors

    @property
    def multiply_adds(self) -> int:
        """Count the multiply-adds of one draw for one image, including those with zero weights."""
        return sum(node.positions * node.weight.mean.numel() for node in self.weighted.values())

    @property
    def parameters(self) -> int:
        """Count the unpruned weights and the nonzero biases."""
        return sum(
            int(((node.weight.mean != 0) | (node.weight.scale > 0)).sum()) + int((node.bias != 0).sum())
            for node in self.weighted.values()
        )


def drop_unreachable(network: Network) -> Network:
    """Drop all nodes that the logits do not depend on."""
    read, alive = {network.output}, []
    for node in reversed(network.nodes):
        if node.name in read:
            alive.append(node)
            read |= set(sources(node))
    return Network(network.pixels, tuple(reversed(alive)))


def without_scales(network: Network, layers: Collection[str]) -> Network:
    """Replace the weights of some layers by their means."""
    nodes = tuple(
        replace(node, weight=node.weight.without_scale())
        if isinstance(node, Weighted) and node.name in layers
        else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def posterior_mean(network: Network) -> Network:
    """Return the network of posterior means, which computes in one pass: all its scales are zero."""
    return without_scales(network, network.weighted)


def random_tensors(network: Network) -> set[str]:
    """Return the names of the tensors that differ from draw to draw."""
    random: set[str] = set()
    for node in network.nodes:
        own = isinstance(node, Weighted) and bool((node.weight.scale > 0).any())
        if own or random & set(sources(node)):
            random.add(node.name)
    return random


def shared_tensors(network: Network) -> tuple[str, ...]:
    """Return the outputs of the part that all draws share: equal in every draw and read by random nodes."""
    random = random_tensors(network)
    if network.output not in random:
        return (network.output,)
    read = {name for node in network.nodes if node.name in random for name in sources(node)}
    return tuple(name for name in network.widths if name in read - random)
