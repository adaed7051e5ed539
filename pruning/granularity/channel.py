"""Whole channels: a filter, its normalisation and bias, and what reads it, coupled through residual sums.

A channel's score is the mean squared score of the weights that make it plus that of the weights that read it: the
filters alone say little about a last layer, whose few outputs every class depends on. Channels go in blocks, lowest
first, so that each layer keeps a multiple of eight: runtimes' convolutions work in blocks of 8 or 16. No layer loses
its last block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.coupling import coupled_tensors
from pruning.mask import Mask
from pruning.network import IMAGES, Flatten, Network, Normalisation
from training.posterior import Posterior

BLOCK = 8


@dataclass
class _Group:
    """Channels that go together over all tensors of a group: bool [C] of what is left, and their order."""

    kept: Tensor
    score: Tensor
    order: Tensor

    def next_block(self) -> Tensor:
        """Indices of the lowest block that is left; empty if it is the last."""
        left = [int(index) for index in self.order if self.kept[index]]
        count = len(left) % BLOCK or BLOCK
        return torch.tensor(left[:count] if len(left) > BLOCK else [], dtype=torch.long)


def select(network: Network, posterior: Posterior, scores: Mapping[str, Tensor], sparsity: float) -> Mask:
    """Remove channels, lowest score first, until the share of random weights that is gone is nearest to `sparsity`."""
    member = coupled_tensors(network)
    groups = _groups(network, member, scores)
    wanted = sparsity * sum(weight.mean.numel() for weight in posterior.weights.values())
    mask = _mask(network, posterior, member, groups)
    while _removed(mask) < wanted:
        blocks = {name: block for name, group in groups.items() if len(block := group.next_block())}
        if not blocks:
            break
        lowest = min(blocks, key=lambda name: float(groups[name].score[blocks[name]].mean()))
        groups[lowest].kept[blocks[lowest]] = False
        before, mask = mask, _mask(network, posterior, member, groups)
        if _removed(mask) - wanted > wanted - _removed(before):
            return before
    return mask


def _groups(network: Network, member: Mapping[str, str], scores: Mapping[str, Tensor]) -> dict[str, _Group]:
    """The groups of channels that may go: not those of the images or the logits."""
    flattened = {node.name: node for node in network.nodes if isinstance(node, Flatten)}
    makers: dict[str, list[Tensor]] = {}
    readers: dict[str, list[Tensor]] = {}
    for name, node in network.weighted.items():
        square = scores[f"{name}.weight"].square()
        makers.setdefault(member[name], []).append(square.flatten(1))
        flatten = flattened.get(node.source)
        source, area = (node.source, 1) if flatten is None else (flatten.source, flatten.area)
        by_channel = square.reshape(len(square), square.shape[1] // area, -1)
        readers.setdefault(member[source], []).append(by_channel.transpose(0, 1).flatten(1))
    output = flattened[network.output].source if network.output in flattened else network.output
    groups = {}
    for name in makers.keys() - {member[IMAGES], member[output]}:
        score = torch.cat(makers[name], 1).mean(1) + torch.cat(readers[name], 1).mean(1)
        # What an earlier level removed scores zero and goes again before anything else.
        groups[name] = _Group(torch.ones(len(score), dtype=torch.bool), score, score.argsort(stable=True))
    return dict(sorted(groups.items()))


def _mask(network: Network, posterior: Posterior, member: Mapping[str, str], groups: Mapping[str, _Group]) -> Mask:
    widths = network.widths

    def kept(tensor: str) -> Tensor:
        group = groups.get(member[tensor])
        return torch.ones(widths[tensor], dtype=torch.bool) if group is None else group.kept.clone()

    columns = {name: kept(name) for name in widths}
    for node in network.nodes:
        if isinstance(node, Flatten):
            columns[node.name] = columns[node.source].repeat_interleave(node.area)
    weights, rest = {}, {}
    for name, node in network.weighted.items():
        both = columns[name][:, None] & columns[node.source][None, :]
        shape = both.shape + (1,) * (node.weight.mean.dim() - 2)
        weights[f"{name}.weight"] = both.view(shape).expand_as(node.weight.mean).clone()
        if f"{name}.bias" in posterior.rest:
            rest[f"{name}.bias"] = columns[name]
    for norm in (node for node in network.nodes if isinstance(node, Normalisation)):
        rest |= {f"{norm.name}.weight": columns[norm.name], f"{norm.name}.bias": columns[norm.name]}
    return Mask(weights, rest)


def _removed(mask: Mask) -> int:
    return sum(int((~kept).sum()) for kept in mask.weights.values())
