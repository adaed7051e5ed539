"""Represent a Bayesian network as a graph of few kinds of nodes, for folding, compaction, prediction and export.

Each node computes one tensor of the same name, [N, C, H, W], or [N, C] after `Flatten`. Nodes are in topological order.
The graph is immutable: transformations return a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.graph.rounding import Rounding
from training.bayesian.posterior import GaussianWeight
from training.data.dataset import Pixels

# Parameters and buffers of a normalisation in a plain module, each [C].
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Convolution:
    """Convolution with weight [out, in, height, width] and bias [out]; `size` is its output's height and width."""

    name: str
    source: str
    weight: GaussianWeight
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    size: tuple[int, int]

    @property
    def positions(self) -> int:
        """Count the output pixels per image, each of which uses every weight once."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Linear:
    """Fully connected layer with weight [out, in] and bias [out]."""

    name: str
    source: str
    weight: GaussianWeight
    bias: Tensor

    @property
    def positions(self) -> int:
        """Return 1: every weight is used once per image."""
        return 1


@dataclass(frozen=True)
class Normalisation:
    """Batch normalisation by running statistics: x · factor + shift, each [C]."""

    name: str
    source: str
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Relu:
    """Rectifier max(x, 0)."""

    name: str
    source: str


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape, at the end of a residual branch."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class MaxPool:
    """Maximum over each window."""

    name: str
    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean over all pixels, [N, C, 1, 1]."""

    name: str
    source: str


@dataclass(frozen=True)
class Flatten:
    """Reshaping from [N, C, H, W] to [N, C·H·W]; `area` is H·W."""

    name: str
    source: str
    area: int


Weighted = Convolution | Linear
Node = Convolution | Linear | Normalisation | Relu | Add | MaxPool | GlobalAveragePool | Flatten


@dataclass(frozen=True)
class Network:
    """Nodes from the tensor `images` to the logits, the last node's tensor.

    `roundings` are those of tensors computed in eight bits, by name; transformations drop them, but for
    `posterior_mean`.
    """

    pixels: Pixels
    nodes: tuple[Node, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """Return the name of the tensor of logits."""
        return self.nodes[-1].name

    @property
    def weighted(self) -> dict[str, Weighted]:
        """Return the nodes with a weight, by name."""
        return {node.name: node for node in self.nodes if isinstance(node, Convolution | Linear)}

    @property
    def widths(self) -> dict[str, int]:
        """Return the number of channels of each tensor."""
        widths = {IMAGES: self.pixels.channels}
        for node in self.nodes:
            if isinstance(node, Convolution | Linear):
                widths[node.name] = len(node.bias)
            elif isinstance(node, Flatten):
                widths[node.name] = widths[node.source] * node.area
            else:
                widths[node.name] = widths[node.source]
        return widths

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
        if isinstance(node, Convolution | Linear) and node.name in layers
        else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def posterior_mean(network: Network) -> Network:
    """Return the network of posterior means, which computes in one pass: all its scales are zero."""
    return without_scales(network, network.weighted)


def sources(node: Node) -> tuple[str, ...]:
    """Return the names of the tensors that a node reads."""
    return (node.source, node.other) if isinstance(node, Add) else (node.source,)


def random_tensors(network: Network) -> set[str]:
    """Return the names of the tensors that differ from draw to draw."""
    random: set[str] = set()
    for node in network.nodes:
        own = isinstance(node, Convolution | Linear) and bool((node.weight.scale > 0).any())
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
