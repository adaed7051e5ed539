"""Whole channels: a filter, its normalisation and bias, and what reads it, coupled through residual sums.

A block of channels is worth what the weights that make or read it are worth together, for what it saves: weights where
the budget counts weights, and otherwise measured time. The block with the least worth for its saving goes first.
Channels go in blocks so that each layer keeps a multiple of eight: runtimes' convolutions work in blocks of 8 or 16.
No layer loses its last block. What went comes back where, in the end, the budget has room for it, or where that is
nearer to the share of weights that a level is named by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.cost.budget import Budget, Cost, costs
from pruning.cost.latency import Timings
from pruning.errors import LevelError
from pruning.granularity.narrowing import Narrowing
from pruning.graph.channel_groups import channel_groups
from pruning.graph.network import Flatten, Network
from training.bayesian.posterior import Posterior

BLOCK = 8
# Milliseconds: what measures no faster than this is not faster.
LEAST_SAVING = 1e-5


@dataclass(frozen=True)
class _Layer:
    """A layer as channels see it: the groups of its outputs and inputs, and what its weights are worth [out, in]."""

    name: str
    outputs: str
    inputs: str
    area: int
    worth: Tensor


def select(
    network: Network,
    posterior: Posterior,
    scores: Mapping[str, Tensor],
    budget: Budget,
    ranking: str,
    timings: Timings,
) -> Narrowing:
    """Keep the channels that are worth most for what they cost."""
    chooser = _Chooser(network, scores, timings)
    choose = chooser.widest if ranking == "layer" else chooser.cheapest("p" if budget.kind == "p" else "t")
    gone: list[tuple[str, Tensor]] = []
    while chooser.total(budget.kind) > budget.most:
        block = choose()
        if block is None:
            least = chooser.total(budget.kind)
            raise LevelError(f"no more channels can go: {least:,.4g} {budget.unit} are left, not {budget.most:,.4g}")
        chooser.put(*block, kept=False)
        gone.append(block)
    for block in reversed(gone):
        before = chooser.total(budget.kind)
        chooser.put(*block, kept=True)
        if not _better(chooser.total(budget.kind), before, budget):
            chooser.put(*block, kept=False)
    return Narrowing.of(network, chooser.channels())


def _better(total: float, before: float, budget: Budget) -> bool:
    """Whether a block should come back. A share of weights names a level, others are limits."""
    if budget.kind == "p":
        return abs(total - budget.most) < abs(before - budget.most)
    return total <= budget.most


class _Chooser:
    """The channels that are left of each group, bool [C], and what the network costs with them."""

    def __init__(self, network: Network, scores: Mapping[str, Tensor], timings: Timings) -> None:
        self.network, self.costs = network, costs(timings)
        self.group = channel_groups(network)
        flattened = {node.name: node for node in network.nodes if isinstance(node, Flatten)}
        before = {name: flat.source for name, flat in flattened.items()}
        self.layers = []
        for name, node in network.weighted.items():
            area = flattened[node.source].area if node.source in flattened else 1
            score = scores[f"{name}.weight"]
            worth = score.masked_fill(score == -torch.inf, 0.0)
            worth = worth.reshape(len(score), score.shape[1] // area, -1).sum(2)
            inputs = self.group[before.get(node.source, node.source)]
            self.layers.append(_Layer(name, self.group[name], inputs, area, worth))
        widths = network.widths
        self.kept = {group: torch.ones(widths[group], dtype=torch.bool) for group in set(self.group.values())}
        output = self.group[before.get(network.output, network.output)]
        self.free = sorted({layer.outputs for layer in self.layers} - {self.group[IMAGES], output})

    def total(self, kind: str) -> float:
        """What the network costs now."""
        return sum(self._cost(layer, self.costs[kind]) for layer in self.layers)

    def _cost(self, layer: _Layer, cost: Cost) -> float:
        outputs, inputs = int(self.kept[layer.outputs].sum()), int(self.kept[layer.inputs].sum())
        return cost(self.network.weighted[layer.name], outputs, inputs * layer.area)

    def put(self, group: str, block: Tensor, *, kept: bool) -> None:
        """Remove a block of channels, or bring it back."""
        self.kept[group][block] = kept

    def cheapest(self, kind: str) -> Callable[[], tuple[str, Tensor] | None]:
        """Chooses the block that is worth least for each unit of `kind` that it saves."""

        def choose() -> tuple[str, Tensor] | None:
            blocks = {group: self._block(group) for group in self.free}
            found = [(group, *block) for group, block in blocks.items() if block is not None]
            if not found:
                return None
            group, block, _ = min(found, key=lambda each: each[2] / self._saving(each[0], each[1], self.costs[kind]))
            return group, block

        return choose

    def widest(self) -> tuple[str, Tensor] | None:
        """The lowest block of the group that has lost the smallest share."""
        found = [(group, block[0]) for group in self.free if (block := self._block(group)) is not None]
        return max(found, key=lambda each: float(self.kept[each[0]].float().mean()), default=None)

    def _block(self, group: str) -> tuple[Tensor, float] | None:
        """Indices of the lowest block that may go, and what it is worth; None if the last is left."""
        left = self.kept[group].nonzero().squeeze(1)
        if len(left) <= BLOCK:
            return None
        worth = torch.zeros(len(self.kept[group]), dtype=torch.float64)
        for layer in self.layers:
            if layer.outputs == group:
                worth += layer.worth[:, self.kept[layer.inputs]].double().sum(1)
            if layer.inputs == group:
                worth += layer.worth[self.kept[layer.outputs]].double().sum(0)
        lowest = left[worth[left].argsort(stable=True)[: len(left) % BLOCK or BLOCK]]
        return lowest, float(worth[lowest].sum())

    def _saving(self, group: str, block: Tensor, cost: Cost) -> float:
        touched = [layer for layer in self.layers if group in (layer.outputs, layer.inputs)]
        before = sum(self._cost(layer, cost) for layer in touched)
        self.put(group, block, kept=False)
        saved = before - sum(self._cost(layer, cost) for layer in touched)
        self.put(group, block, kept=True)
        return max(saved, LEAST_SAVING)

    def channels(self) -> dict[str, Tensor]:
        """Indices of the channels that are left of each tensor."""
        return {name: self.kept[group].nonzero().squeeze(1) for name, group in self.group.items()}
