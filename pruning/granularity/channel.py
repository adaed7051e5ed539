"""Prune whole channels: filters with their normalisation and bias, and the weights that read them.

Channels of one number (`graph.channel_groups`) are pruned together. A block of channels scores the sum of the weights
that compute or read it, or, where the criterion says so, that read it alone. Blocks are removed in ascending order of
score per saving, which is in weights if the budget counts weights, otherwise in measured time. Blocks keep each layer's
width a multiple of eight, since runtimes' convolutions work in blocks of 8 or 16. No layer loses its last block.
Finally, removed blocks return where the budget has room for them, or where that brings the share of weights nearer to
the level's.

Channels that cannot go are kept: those of the images and classes, of layers without scores, and those that the plain
module cannot do without.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.cost.budget import Budget, Cost, layer_costs
from pruning.cost.latency import Timings
from pruning.criteria.inputs import Scores
from pruning.errors import LevelError
from pruning.granularity.narrowing import Narrowing
from pruning.graph.channel_groups import ChannelGroups, channel_groups, columns
from pruning.graph.network import Network
from training.bayesian.posterior import Posterior

BLOCK_CHANNELS = 8
# Smaller savings are measurement noise. Milliseconds, or weights, of which a block always saves more.
MIN_SAVING = 1e-5


@dataclass(frozen=True)
class _Layer:
    """Numbers of the channels that a layer's rows make and its columns read, and its weights' summed scores.

    `scores` is [rows, columns], columns of one number summed; of a depthwise convolution, which makes what it reads,
    `columns` are none and `scores` is [rows, 1]. `inputs` are the numbers of all channels of the layer's source.
    A layer that is not `scored` is deterministic.
    """

    name: str
    rows: Tensor
    columns: Tensor
    inputs: Tensor
    scores: Tensor
    scored: bool


@dataclass(frozen=True)
class _Block:
    """Numbers of channels that go together, and their score."""

    numbers: Tensor
    score: float


def choose_removal(
    network: Network, posterior: Posterior, scores: Scores, budget: Budget, ranking: str, timings: Timings
) -> Narrowing:
    """Keep the channels with the highest score for their cost."""
    chooser = _Chooser(network, scores, timings)
    choose_block = chooser.widest if ranking == "layer" else chooser.cheapest("p" if budget.kind == "p" else "t")
    removed: list[Tensor] = []
    while chooser.total(budget.kind) > budget.limit:
        block = choose_block()
        if block is None:
            left = chooser.total(budget.kind)
            raise LevelError(
                f"no more channels can be removed: {left:,.4g} {budget.unit} are left, not {budget.limit:,.4g}"
                + "".join(f"; kept: {reason}" for reason in sorted(set(chooser.reasons.values())))
            )
        chooser.put(block, kept=False)
        removed.append(block)
    for block in reversed(removed):
        before = chooser.total(budget.kind)
        chooser.put(block, kept=True)
        if not _is_improvement(chooser.total(budget.kind), before, budget):
            chooser.put(block, kept=False)
    return Narrowing.keeping(network, chooser.channels.kept(chooser.kept))


def reasons_to_keep(network: Network, channels: ChannelGroups, scored: Collection[str]) -> dict[int, str]:
    """Return why channels other than those of images and classes are kept, by group; `scored` are the random layers."""
    reasons = {group: f"{name}: {reason}" for name, reason in network.fixed.items() for group in channels.of(name)}
    for name, node in network.weighted.items():
        if name not in scored:
            for group in channels.of(name) | channels.of(node.source):
                reasons.setdefault(group, f"{name}: a deterministic layer's channels have no score")
    for group in channels.of(IMAGES) | channels.of(network.output):
        reasons.pop(group, None)
    return reasons


def kept_channels(network: Network, posterior: Posterior) -> list[str]:
    """Return why channels of a posterior's network are kept, beside those of images and classes."""
    scored = [name for name in network.weighted if f"{name}.weight" in posterior.weights]
    return sorted(set(reasons_to_keep(network, channel_groups(network), scored).values()))


def _is_improvement(total: float, before: float, budget: Budget) -> bool:
    """Return whether a block should return: shares of weights are targets, other budgets are limits."""
    if budget.kind == "p":
        return abs(total - budget.limit) < abs(before - budget.limit)
    return total <= budget.limit


class _Chooser:
    """The channels kept, bool by number, and the network's cost with them.

    What is known of layers and groups stays known until a block goes or returns that one of the same layers has.
    """

    def __init__(self, network: Network, scores: Scores, timings: Timings) -> None:
        self.nodes, self.costs, self.readers_only = network.weighted, layer_costs(timings), scores.readers_only
        self.channels = channel_groups(network)
        self.kept = torch.ones(len(self.channels.groups), dtype=torch.bool)
        self.layers = [self._layer(name, scores) for name in self.nodes]
        self.touched: dict[int, list[_Layer]] = {}
        for layer in self.layers:
            for group in self.channels.of(layer.name) | self.channels.of(self.nodes[layer.name].source):
                self.touched.setdefault(group, []).append(layer)
        self.reasons = reasons_to_keep(network, self.channels, [each.name for each in self.layers if each.scored])
        ports = self.channels.of(IMAGES) | self.channels.of(network.output)
        self.free = sorted(self.touched.keys() - self.reasons.keys() - ports)
        self.sizes = {group: self._block_size(group) for group in self.free}
        self.widths: dict[str, tuple[int, int]] = {}
        self.blocks: dict[int, _Block | None] = {}
        self.prices: dict[int, float] = {}

    def _layer(self, name: str, scores: Scores) -> _Layer:
        node, numbers = self.nodes[name], self.channels.numbers
        rows, inputs = numbers[name], numbers[node.source]
        read, place = columns(node, inputs).unique(return_inverse=True)
        known = scores.of_weights.get(f"{name}.weight")
        score = torch.zeros_like(node.weight.mean) if known is None else known.masked_fill(known == -torch.inf, 0.0)
        scores_OI = score.reshape(*score.shape[:2], -1).sum(2)
        if len(read):
            scores_OI = torch.zeros(len(rows), len(read)).index_add_(1, place, scores_OI)
        return _Layer(name, rows, read, inputs, scores_OI, known is not None)

    def _block_size(self, group: int) -> int:
        """Return how many numbers stand for BLOCK_CHANNELS channels of a layer that makes them."""
        made = [layer.rows[self.channels.groups[layer.rows] == group] for layer in self.touched[group]]
        copies = min(int(rows.bincount().max()) for rows in made if len(rows))
        return max(1, BLOCK_CHANNELS // copies)

    def total(self, kind: str) -> float:
        """Return the network's present cost; weights are the random ones."""
        return sum(self._cost(layer, self.costs[kind]) for layer in self.layers if layer.scored or kind != "p")

    def _cost(self, layer: _Layer, cost: Cost) -> float:
        if layer.name not in self.widths:
            self.widths[layer.name] = int(self.kept[layer.rows].sum()), int(self.kept[layer.inputs].sum())
        return cost(self.nodes[layer.name], *self.widths[layer.name])

    def put(self, block: Tensor, *, kept: bool) -> None:
        """Remove a block of channels, or restore it."""
        group = self._set(block, kept)
        touched = {layer.name for layer in self.touched[group]}
        for other in self.free:
            if any(layer.name in touched for layer in self.touched[other]):
                self.blocks.pop(other, None)
                self.prices.pop(other, None)

    def _set(self, block: Tensor, kept: bool) -> int:
        """Remove a block or restore it, for what depends on widths alone; return its group."""
        self.kept[block] = kept
        group = int(self.channels.groups[block[0]])
        for layer in self.touched[group]:
            self.widths.pop(layer.name, None)
        return group

    def cheapest(self, kind: str) -> Callable[[], Tensor | None]:
        """Return a function that chooses the block with the lowest score per unit of `kind` saved."""
        self.prices.clear()

        def choose() -> Tensor | None:
            blocks = self._lowest_blocks()
            for group, block in blocks.items():
                if group not in self.prices:
                    self.prices[group] = block.score / self._saving(group, block.numbers, self.costs[kind])
            return blocks[min(blocks, key=self.prices.__getitem__)].numbers if blocks else None

        return choose

    def widest(self) -> Tensor | None:
        """Choose the lowest-scoring block of the group that has lost the smallest share."""
        blocks = self._lowest_blocks()
        shares = {group: float(self.kept[self.channels.groups == group].float().mean()) for group in blocks}
        return blocks[max(blocks, key=shares.__getitem__)].numbers if blocks else None

    def _lowest_blocks(self) -> dict[int, _Block]:
        """Return the lowest-scoring block of each group that has more than one left."""
        for group in self.free:
            if group not in self.blocks:
                self.blocks[group] = self._lowest_block(group)
        return {group: block for group in self.free if (block := self.blocks[group]) is not None}

    def _lowest_block(self, group: int) -> _Block | None:
        left = ((self.channels.groups == group) & self.kept).nonzero().squeeze(1)
        size = self.sizes[group]
        if len(left) <= size:
            return None
        scores = torch.zeros(len(self.kept), dtype=torch.float64)
        for layer in self.touched[group]:
            rows = self.kept[layer.rows]
            if not len(layer.columns):  # it makes and reads the same channels
                scores.index_add_(0, layer.rows, layer.scores.double().sum(1))
                continue
            columns = self.kept[layer.columns]
            if not self.readers_only:
                scores.index_add_(0, layer.rows, layer.scores[:, columns].double().sum(1))
            scores.index_add_(0, layer.columns, layer.scores[rows].double().sum(0))
        lowest = left[scores[left].argsort(stable=True)[: len(left) % size or size]]
        return _Block(lowest, float(scores[lowest].sum()))

    def _saving(self, group: int, block: Tensor, cost: Cost) -> float:
        before = sum(self._cost(layer, cost) for layer in self.touched[group])
        self._set(block, kept=False)
        saved = before - sum(self._cost(layer, cost) for layer in self.touched[group])
        self._set(block, kept=True)
        return max(saved, MIN_SAVING)
