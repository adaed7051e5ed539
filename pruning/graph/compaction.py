"""Remove dead channels and residual branches exactly: outputs are unchanged on every draw.

A channel is dead if it is exactly zero on every input, or if no later weight reads it. Channels coupled by a residual
sum are removed together or not at all. A residual branch that is zero on every channel is removed as a whole. This is
repeated until nothing changes.
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
        channels = _kept_channels(smaller)
        smaller = ir.Network(smaller.pixels, tuple(_cut(node, channels) for node in smaller.nodes))
        kept = {
            name: (kept[name][0][channels[name]], kept[name][1][channels[node.source]])
            for name, node in smaller.weighted.items()
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
        x = known[node.source]
        if isinstance(node, ir.Convolution | ir.Linear):
            alive = (_used(node) & (x != 0)).any(1)
            known[node.name] = torch.where(alive, torch.nan, node.bias)
        elif isinstance(node, ir.Normalisation):
            known[node.name] = x * node.factor + node.shift
        elif isinstance(node, ir.Relu):
            known[node.name] = x.relu()
        elif isinstance(node, ir.Add):
            known[node.name] = x + known[node.other]
        elif isinstance(node, ir.Flatten):
            known[node.name] = x.repeat_interleave(node.area)
        else:  # pooling leaves a constant as it is
            known[node.name] = x
    return known


def _used(node: ir.Weighted) -> Tensor:
    """Return bool [out, in]: the input channels that each output channel reads."""
    used = (node.weight.mean != 0) | (node.weight.scale > 0)
    return used.flatten(2).any(2) if used.dim() > 2 else used


def _kept_channels(network: ir.Network) -> dict[str, Tensor]:
    """Return the indices of the channels to keep of each tensor."""
    known, widths, group = constants(network), network.widths, channel_groups(network)
    needed = {name: torch.zeros(width, dtype=torch.bool) for name, width in widths.items()}
    needed[network.output] |= True
    needed[IMAGES] |= True
    for node in reversed(network.nodes):
        if isinstance(node, ir.Convolution | ir.Linear):
            needed[node.source] |= _used(node).any(0) & (known[node.source] != 0)
        elif isinstance(node, ir.Flatten):
            needed[node.source] |= needed[node.name].view(-1, node.area).any(1)
        else:
            for name in ir.sources(node):
                needed[name] |= needed[node.name]
    together = {name: torch.zeros(widths[name], dtype=torch.bool) for name in set(group.values())}
    for name, which in needed.items():
        together[group[name]] |= which
    for which in together.values():
        which[0] |= not which.any()
    kept = {name: together[group[name]] for name in widths}
    for node in network.nodes:
        if isinstance(node, ir.Flatten):  # a channel stays with all its pixels
            kept[node.name] = kept[node.source].repeat_interleave(node.area)
    return {name: which.nonzero().squeeze(1) for name, which in kept.items()}


def _cut(node: ir.Node, channels: Mapping[str, Tensor]) -> ir.Node:
    rows = channels[node.name]
    if isinstance(node, ir.Convolution | ir.Linear):
        columns = channels[node.source]
        weight = GaussianWeight(node.weight.mean[rows][:, columns], node.weight.scale[rows][:, columns])
        return replace(node, weight=weight, bias=node.bias[rows])
    if isinstance(node, ir.Normalisation):
        return replace(node, factor=node.factor[rows], shift=node.shift[rows])
    return node


def _without_dead_branches(network: ir.Network) -> ir.Network:
    """Replace each sum with a tensor of zeros by its other term, and drop nodes without readers."""
    known = constants(network)
    renamed: dict[str, str] = {}
    nodes: list[ir.Node] = []
    for node in network.nodes:
        moved = replace(node, source=renamed.get(node.source, node.source))
        if isinstance(moved, ir.Add):
            moved = replace(moved, other=renamed.get(moved.other, moved.other))
            zero = {name for name in ir.sources(moved) if (known[name] == 0).all()}
            if zero and node.name != network.output:
                renamed[node.name] = moved.source if moved.other in zero else moved.other
                continue
        nodes.append(moved)
    return ir.drop_unreachable(ir.Network(network.pixels, tuple(nodes)))
