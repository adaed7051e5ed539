"""Prune whole channels: filters with their normalisation and bias, and the weights that read them.

Channels coupled by residual sums are pruned together. A block of channels scores the sum of the weights that compute or
read it, or, where the criterion says so, that read it alone. Blocks are removed in ascending order of score per saving,
which is in weights if the budget counts weights, otherwise in measured time. Blocks keep each layer's width a multiple
of eight, since runtimes' convolutions work in blocks of 8 or 16. No layer loses its last block. Finally, removed blocks
return where the budget has room for them, or where that brings the share of weights nearer to the level's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.cost.budget import Budget, Cost, layer_costs
from pruning.cost.latency import Timings
from pruning.criteria.inputs import Scores
from pruning.errors import LevelError, PosteriorError
from pruning.granularity.narrowing import Narrowing
from pruning.graph.channel_groups import channel_groups
from pruning.graph.network import Flatten, Network
from training.bayesian.posterior import Posterior

BLOCK_CHANNELS = 8
# Smaller savings are measurement noise. Milliseconds, or weights, of which a block always saves more.
MIN_SAVING = 1e-5


@dataclass(frozen=True)
class _Layer:
    """A layer's output and input channel groups, and the summed scores of its weights [out, in]."""

    name: str
    outputs: str
    inputs: str
    area: int
    scores: Tensor


def choose_removal(
    network: Network, posterior: Posterior, scores: Scores, budget: Budget, ranking: str, timings: Timings
) -> Narrowing:
    """Keep the channels with the highest score for their cost."""
    chooser = _Chooser(network, scores, timings)
    choose_block = chooser.widest if ranking == "layer" else chooser.cheapest("p" if budget.kind == "p" else "t")
    removed: list[tuple[str, Tensor]] = []
    while chooser.total(budget.kind) > budget.limit:
        block = choose_block()
        if block is None:
            left = chooser.total(budget.kind)
            raise LevelError(
                f"no more channels can be removed: {left:,.4g} {budget.unit} are left, not {budget.limit:,.4g}"
            )
        chooser.put(*block, kept=False)
        removed.append(block)
    for block in reversed(removed):
        before = chooser.total(budget.kind)
        chooser.put(*block, kept=True)
        if not _is_improvement(chooser.total(budget.kind), before, budget):
            chooser.put(*block, kept=False)
    return Narrowing.keeping(network, chooser.channels())


def _is_improvement(total: float, before: float, budget: Budget) -> bool:
    """Return whether a block should return: shares of weights are targets, other budgets are limits."""
    if budget.kind == "p":
        return abs(total - budget.limit) < abs(before - budget.limit)
    return total <= budget.limit


class _Chooser:
    """The channels kept of each group, bool [C], and the network's cost with them."""

    def __init__(self, network: Network, scores: Scores, timings: Timings) -> None:
        self.network, self.costs, self.readers_only = network, layer_costs(timings), scores.readers_only
        self.group = channel_groups(network)
        flattened = {node.name: node for node in network.nodes if isinstance(node, Flatten)}
        before = {name: flat.source for name, flat in flattened.items()}
        self.layers = []
        for name, node in network.weighted.items():
            area = flattened[node.source].area if node.source in flattened else 1
            if f"{name}.weight" not in scores.of_weights:
                raise PosteriorError(f"{name} is deterministic, so its channels have no score: prune weights instead")
            score = scores.of_weights[f"{name}.weight"]
            channel_scores = score.masked_fill(score == -torch.inf, 0.0)
            channel_scores = channel_scores.reshape(len(score), score.shape[1] // area, -1).sum(2)
            inputs = self.group[before.get(node.source, node.source)]
            self.layers.append(_Layer(name, self.group[name], inputs, area, channel_scores))
        widths = network.widths
        self.kept = {group: torch.ones(widths[group], dtype=torch.bool) for group in set(self.group.values())}
        output = self.group[before.get(network.output, network.output)]
        self.free = sorted({layer.outputs for layer in self.layers} - {self.group[IMAGES], output})

    def total(self, kind: str) -> float:
        """Return the network's present cost."""
        return sum(self._cost(layer, self.costs[kind]) for layer in self.layers)

    def _cost(self, layer: _Layer, cost: Cost) -> float:
        outputs, inputs = int(self.kept[layer.outputs].sum()), int(self.kept[layer.inputs].sum())
        return cost(self.network.weighted[layer.name], outputs, inputs * layer.area)

    def put(self, group: str, block: Tensor, *, kept: bool) -> None:
        """Remove a block of channels, or restore it."""
        self.kept[group][block] = kept

    def cheapest(self, kind: str) -> Callable[[], tuple[str, Tensor] | None]:
        """Return a function that chooses the block with the lowest score per unit of `kind` saved."""

        def choose() -> tuple[str, Tensor] | None:
            blocks = {group: self._block(group) for group in self.free}
            candidates = [(group, *block) for group, block in blocks.items() if block is not None]
            if not candidates:
                return None
            group, block, _ = min(
                candidates, key=lambda each: each[2] / self._saving(each[0], each[1], self.costs[kind])
            )
            return group, block

        return choose

    def widest(self) -> tuple[str, Tensor] | None:
        """Choose the lowest-scoring block of the group that has lost the smallest share."""
        candidates = [(group, block[0]) for group in self.free if (block := self._block(group)) is not None]
        return max(candidates, key=lambda each: float(self.kept[each[0]].float().mean()), default=None)

    def _block(self, group: str) -> tuple[Tensor, float] | None:
        """Return the indices and score of a group's lowest-scoring block, or None if it has one block left."""
        left = self.kept[group].nonzero().squeeze(1)
        if len(left) <= BLOCK_CHANNELS:
            return None
        scores = torch.zeros(len(self.kept[group]), dtype=torch.float64)
        for layer in self.layers:
            if layer.outputs == group and not self.readers_only:
                scores += layer.scores[:, self.kept[layer.inputs]].double().sum(1)
            if layer.inputs == group:
                scores += layer.scores[self.kept[layer.outputs]].double().sum(0)
        lowest = left[scores[left].argsort(stable=True)[: len(left) % BLOCK_CHANNELS or BLOCK_CHANNELS]]
        return lowest, float(scores[lowest].sum())

    def _saving(self, group: str, block: Tensor, cost: Cost) -> float:
        touched = [layer for layer in self.layers if group in (layer.outputs, layer.inputs)]
        before = sum(self._cost(layer, cost) for layer in touched)
        self.put(group, block, kept=False)
        saved = before - sum(self._cost(layer, cost) for layer in touched)
        self.put(group, block, kept=True)
        return max(saved, MIN_SAVING)

    def channels(self) -> dict[str, Tensor]:
        """Return the indices of the channels kept of each tensor."""
        return {name: self.kept[group].nonzero().squeeze(1) for name, group in self.group.items()}
