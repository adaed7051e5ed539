"""Number the channels of all tensors, so that those with one number are removed together.

A layer makes channels of new numbers; sums, gates, equal groups and depthwise convolutions make numbers one:

| node | numbers of its output |
|---|---|
| convolution, linear layer | new |
| depthwise convolution | its input's, each as often as it makes outputs of it |
| convolution in equal groups | new for a group, the same in all; those of its input become one across groups |
| group normalisation | its input's, which become one across groups, so that these stay equal |
| sum, product | those of both sources, which become one |
| concatenation | its parts', one after the other |
| flattening | its input's, each as often as it has pixels |
| all others | its input's |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.graph.network import Network
from pruning.graph.nodes import (
    Add,
    Concat,
    Convolution,
    Flatten,
    GroupNormalisation,
    Linear,
    Multiply,
    Node,
    Weighted,
    sources,
)


@dataclass(frozen=True)
class ChannelGroups:
    """Numbers int64 [C] of each tensor's channels, by name, and the group [V] that each of V numbers belongs to.

    Numbers that the same layers make are one group, so that a layer has channels as long as each group has.
    """

    numbers: dict[str, Tensor]
    groups: Tensor

    def of(self, name: str) -> set[int]:
        """Return the groups that a tensor's channels belong to."""
        return set(self.groups[self.numbers[name]].tolist())

    def kept(self, keep: Tensor) -> dict[str, Tensor]:
        """Return the indices of each tensor's channels whose numbers are True in `keep`, bool [V]."""
        return {name: keep[numbers].nonzero().squeeze(1) for name, numbers in self.numbers.items()}


def channel_groups(network: Network) -> ChannelGroups:
    """Number the channels of a network's tensors."""
    numbering = _Numbering(network.pixels.channels)
    for node in network.nodes:
        numbering.add(node)
    return numbering.result()


def columns(node: Weighted, numbers: Tensor) -> Tensor:
    """Return the numbers of the channels that the columns of a layer's weight read, given those of its input.

    Equal groups read the same; of a depthwise convolution, whose rows differ, it is none.
    """
    if isinstance(node, Convolution) and node.depthwise:
        return numbers[:0]
    return numbers[: len(numbers) // node.groups]


class _Numbering:
    """Give out numbers, and make some of them one: `one[n]` leads to the number that n became one with."""

    def __init__(self, channels: int) -> None:
        self.one: list[int] = []
        self.maker: list[int] = []
        self.numbers = {IMAGES: self.new(channels)}

    def new(self, count: int) -> list[int]:
        first = len(self.one)
        self.maker += [first] * count
        self.one += range(first, first + count)
        return list(range(first, first + count))

    def add(self, node: Node) -> None:
        x, *others = (self.numbers[name] for name in sources(node))
        match node:
            case Convolution(depthwise=True):
                copies = len(node.bias) // len(x)
                made = [number for number in x for _ in range(copies)]
            case Convolution() | Linear():
                self.unite_groups(x, node.groups)
                made = self.new(len(node.bias) // node.groups) * node.groups
            case GroupNormalisation():
                made = x
                self.unite_groups(x, node.groups)
            case Add() | Multiply():
                made = x
                self.unite(x, others[0])
            case Concat():
                made = [number for part in (x, *others) for number in part]
            case Flatten():
                made = [number for number in x for _ in range(node.area)]
            case _:
                made = x
        self.numbers[node.name] = made

    def unite_groups(self, numbers: list[int], groups: int) -> None:
        size = len(numbers) // groups
        for group in range(1, groups):
            self.unite(numbers[:size], numbers[group * size : (group + 1) * size])

    def unite(self, some: Iterable[int], others: Iterable[int]) -> None:
        for one, other in zip(some, others, strict=True):
            first, second = sorted((self.find(one), self.find(other)))
            self.one[second] = first

    def find(self, number: int) -> int:
        while self.one[number] != number:
            self.one[number] = self.one[self.one[number]]
            number = self.one[number]
        return number

    def result(self) -> ChannelGroups:
        """Number anew without gaps, and group the numbers by their makers."""
        found = [self.find(number) for number in range(len(self.one))]
        makers: dict[int, set[int]] = {}
        for number, maker in zip(found, self.maker, strict=True):
            makers.setdefault(number, set()).add(maker)
        place = {number: index for index, number in enumerate(sorted(makers))}
        numbers = {
            name: torch.tensor([place[found[number]] for number in each], dtype=torch.int64)
            for name, each in self.numbers.items()
        }
        groups = dict[frozenset[int], int]()
        of = [groups.setdefault(frozenset(makers[number]), len(groups)) for number in place]
        return ChannelGroups(numbers, torch.tensor(of))
