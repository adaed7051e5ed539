"""Remove dead channels and residual branches exactly: outputs are unchanged on every draw.

A channel is dead if it is exactly zero on every input, or if no later weight reads it. Channels of one number
(`channel_groups`) are removed together or not at all. What layer and group normalisation read stays, since it is part
of their statistics. A residual branch that is zero on every channel is removed as a whole. This is repeated until
nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.graph import network as ir
from pruning.graph.channel_groups import channel_groups
from pruning.graph.folding import fold
from pruning.graph.forward import FUNCTIONS
from pruning.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Clip,
    Concat,
    Convolution,
    Flatten,
    GroupNormalisation,
    LayerNormalisation,
    Linear,
    Multiply,
    Node,
    Normalisation,
    Normalising,
    Weighted,
    read_channels,
    reading,
    sources,
)
from training.bayesian.posterior import GaussianWeight


@dataclass(frozen=True)
class Compaction:
    """The compacted network, and the indices of rows and columns kept of each remaining weight."""

    network: ir.Network
    kept: Mapping[str, tuple[Tensor, Tensor]]

    def carry(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same draw of the weights for the compacted network."""
        return {name: weights[name][rows][:, columns] for name, (rows, columns) in self.kept.items()}


def compact(network: ir.Network) -> Compaction:
    """Remove every dead channel and branch, but at least one channel of each layer stays."""
    kept = {
        name: (torch.arange(node.weight.mean.shape[0]), torch.arange(node.weight.mean.shape[1]))
        for name, node in network.weighted.items()
    }
    while True:
        smaller = _without_dead_branches(network)
        channels, before = _kept_channels(smaller), smaller.weighted
        smaller = ir.Network(smaller.pixels, tuple(_cut(node, channels) for node in smaller.nodes))
        kept = {
            name: (kept[name][0][channels[name]], kept[name][1][_columns(node, channels[node.source])])
            for name, node in before.items()
        }
        if smaller.widths == network.widths:
            return Compaction(smaller, kept)
        network = smaller


def fold_and_compact(network: ir.Network) -> ir.Network:
    """Fold normalisation and remove dead channels, as for export."""
    return compact(fold(network).network).network


def constants(network: ir.Network) -> dict[str, Tensor]:
    """Return per tensor the values [C] of channels that are constant over inputs and draws, NaN for the others."""
    known = {IMAGES: torch.full((network.pixels.channels,), torch.nan)}
    for node in network.nodes:
        x, *others = (known[name] for name in sources(node))
        match node:
            case Convolution() | Linear():
                alive = (_used(node) & (x != 0)[read_channels(node)]).any(1)
                known[node.name] = torch.where(alive, torch.nan, node.bias)
            case Normalisation():
                known[node.name] = x * node.factor + node.shift
            case GroupNormalisation() | LayerNormalisation():  # of other channels, too
                known[node.name] = torch.full_like(x, torch.nan)
            case Activation():  # not all of them pass NaN on
                known[node.name] = torch.where(x.isnan(), torch.nan, FUNCTIONS[node.function](x))
            case Clip():
                known[node.name] = x.clamp(node.low, node.high)
            case Add():
                known[node.name] = x + others[0]
            case Multiply():
                known[node.name] = torch.where((x == 0) | (others[0] == 0), 0.0, x * others[0])
            case Concat():
                known[node.name] = torch.cat([x, *others])
            case AveragePool():  # zeros at the borders change all but zeros
                known[node.name] = torch.where(x == 0, 0.0, torch.nan) if any(node.padding) else x
            case Flatten():
                known[node.name] = x.repeat_interleave(node.area)
            case _:  # other pooling leaves a constant as it is
                known[node.name] = x
    return known


def _used(node: Weighted) -> Tensor:
    """Return bool [out, in / groups]: the input channels that each output channel reads."""
    used = (node.weight.mean != 0) | (node.weight.scale > 0)
    return used.flatten(2).any(2) if used.dim() > 2 else used


def _kept_channels(network: ir.Network) -> dict[str, Tensor]:
    """Return the indices of the channels to keep of each tensor."""
    known, widths, channels = constants(network), network.widths, channel_groups(network)
    needed = {name: torch.zeros(width, dtype=torch.bool) for name, width in widths.items()}
    needed[network.output] |= True
    needed[IMAGES] |= True
    for node in reversed(network.nodes):
        for name, read in zip(sources(node), _needed(node, needed[node.name], known, widths), strict=True):
            needed[name] |= read
    keep = torch.zeros(len(channels.groups), dtype=torch.bool)
    for name, which in needed.items():
        keep[channels.numbers[name][which]] = True
    for name in network.weighted:
        numbers = channels.numbers[name]
        if not keep[numbers].any():
            keep[numbers[0]] = True
    return channels.kept(keep)


def _needed(node: Node, made: Tensor, known: Mapping[str, Tensor], widths: Mapping[str, int]) -> tuple[Tensor, ...]:
    """Return which channels of each source a node reads for those that are needed of what it makes."""
    match node:
        case Convolution() | Linear():
            used = _used(node)
            if isinstance(node, Convolution) and node.depthwise:
                used = used & made[:, None]
            read = torch.zeros(widths[node.source], dtype=torch.bool)
            read[read_channels(node)[used]] = True
            return (read & (known[node.source] != 0),)
        case GroupNormalisation() | LayerNormalisation():
            return (torch.ones_like(made),)
        case Concat():
            return tuple(torch.split(made, [widths[name] for name in sources(node)]))
        case Flatten():
            return (made.view(-1, node.area).any(1),)
        case _:
            return (made,) * len(sources(node))


def _columns(node: Weighted, kept: Tensor) -> Tensor:
    """Return the columns to keep of a layer's weight, given the channels kept of its input."""
    if isinstance(node, Convolution) and node.depthwise:
        return torch.zeros(1, dtype=torch.int64)
    return kept[kept < node.weight.mean.shape[1]]  # equal groups keep the same


def _cut(node: Node, channels: Mapping[str, Tensor]) -> Node:
    rows = channels[node.name]
    if isinstance(node, Weighted):
        columns = _columns(node, channels[node.source])
        weight = GaussianWeight(node.weight.mean[rows][:, columns], node.weight.scale[rows][:, columns])
        cut = replace(node, weight=weight, bias=node.bias[rows])
        if isinstance(cut, Convolution) and cut.depthwise:
            return replace(cut, groups=len(channels[node.source]))
        return cut
    if isinstance(node, Normalising):
        return replace(node, factor=node.factor[rows], shift=node.shift[rows])
    return node


def _without_dead_branches(network: ir.Network) -> ir.Network:
    """Replace each sum with a tensor of zeros by its other term, and drop nodes without readers."""
    known = constants(network)
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        moved = reading(node, renamed)
        if isinstance(moved, Add):
            zero = {name for name in sources(moved) if (known[name] == 0).all()}
            if zero and node.name != network.output:
                renamed[node.name] = moved.source if moved.other in zero else moved.other
                continue
        nodes.append(moved)
    return ir.drop_unreachable(ir.Network(network.pixels, tuple(nodes)))
