"""The posterior network as a graph of few kinds of nodes: what folding, compaction, prediction and export work on.

Each node makes one tensor, named as the node; tensors are [N, C, H, W], or [N, C] after `Flatten`. Nodes stand in
topological order. The graph is frozen: a transformation makes another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.graph.rounding import Rounding
from training.bayesian.posterior import GaussianWeight
from training.data.dataset import Pixels


@dataclass(frozen=True)
class Convolution:
    """Weight [out, in, height, width], bias [out]; `size` is that of its output, height and width."""

    name: str
    source: str
    weight: GaussianWeight
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    size: tuple[int, int]

    @property
    def positions(self) -> int:
        """The number of output pixels of one image, at each of which every weight is used once."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Linear:
    """Weight [out, in], bias [out]."""

    name: str
    source: str
    weight: GaussianWeight
    bias: Tensor

    @property
    def positions(self) -> int:
        """As of a convolution to one pixel."""
        return 1


@dataclass(frozen=True)
class Normalisation:
    """x · factor + shift, each [C]: normalisation by running statistics."""

    name: str
    source: str
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""

    name: str
    source: str


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape: where a residual branch joins."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each window."""

    name: str
    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over all pixels, [N, C, 1, 1]."""

    name: str
    source: str


@dataclass(frozen=True)
class Flatten:
    """[N, C, H, W] to [N, C·H·W]; `area` is H·W."""

    name: str
    source: str
    area: int


Weighted = Convolution | Linear
Node = Convolution | Linear | Normalisation | Relu | Add | MaxPool | GlobalAveragePool | Flatten


@dataclass(frozen=True)
class Network:
    """Nodes from the images, which are a tensor called `images`, to the logits, which the last node makes.

    `roundings` are those of tensors that are computed in eight bits, by name; a transformation's result has none.
    """

    pixels: Pixels
    nodes: tuple[Node, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """Name of the tensor of logits."""
        return self.nodes[-1].name

    @property
    def weighted(self) -> dict[str, Weighted]:
        """The nodes that have a weight, by name."""
        return {node.name: node for node in self.nodes if isinstance(node, Convolution | Linear)}

    @property
    def widths(self) -> dict[str, int]:
        """The number of channels of each tensor."""
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
        """Multiply-adds of one draw for one image, zeros inside a weight included."""
        return sum(node.positions * node.weight.mean.numel() for node in self.weighted.values())

    @property
    def parameters(self) -> int:
        """Weights that are not pruned, and biases that are not zero."""
        return sum(
            int(((node.weight.mean != 0) | (node.weight.scale > 0)).sum()) + int((node.bias != 0).sum())
            for node in self.weighted.values()
        )


def reachable(network: Network) -> Network:
    """The network without what its logits do not depend on."""
    read, alive = {network.output}, []
    for node in reversed(network.nodes):
        if node.name in read:
            alive.append(node)
            read |= set(sources(node))
    return Network(network.pixels, tuple(reversed(alive)))


def sources(node: Node) -> tuple[str, ...]:
    """The tensors that a node reads."""
    return (node.source, node.other) if isinstance(node, Add) else (node.source,)


def depends_on_noise(network: Network) -> set[str]:
    """The tensors that differ from draw to draw."""
    random: set[str] = set()
    for node in network.nodes:
        own = isinstance(node, Convolution | Linear) and bool((node.weight.scale > 0).any())
        if own or random & set(sources(node)):
            random.add(node.name)
    return random


def shared_tensors(network: Network) -> tuple[str, ...]:
    """The tensors that are the same for every draw and that what differs reads: where the shared part ends."""
    random = depends_on_noise(network)
    if network.output not in random:
        return (network.output,)
    read = {name for node in network.nodes if node.name in random for name in sources(node)}
    return tuple(name for name in network.widths if name in read - random)
