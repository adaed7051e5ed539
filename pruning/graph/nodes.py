"""Define the kinds of nodes of a network's graph.

Each node computes one tensor of the same name: an image [N, C, H, W], or a vector [N, C] after `Flatten` and `Linear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from training.bayesian.posterior import GaussianWeight

# Parameters and buffers of a batch normalisation in a plain module, each [C]; other kinds have the first two.
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


# Pixels at the top, left, bottom and right.
Pads: TypeAlias = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class Convolution:
    """Convolution with weight [out, in / groups, height, width] and bias [out].

    `size` is its output's height and width. A depthwise convolution has a group for each channel that it reads, however
    many are left of them. `pads` are the zeros around its input, at the top, left, bottom and right.
    """

    name: str
    source: str
    weight: GaussianWeight
    bias: Tensor
    stride: tuple[int, int]
    pads: Pads
    size: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    depthwise: bool = False

    @property
    def positions(self) -> int:
        """Count the output pixels per image, each of which uses every weight once."""
        return self.size[0] * self.size[1]

    def columns(self, inputs: int) -> int:
        """Return how many of `inputs` channels one output channel reads."""
        return 1 if self.depthwise else inputs // self.groups


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

    @property
    def groups(self) -> int:
        """Return 1: every output reads every input."""
        return 1

    def columns(self, inputs: int) -> int:
        """Return how many of `inputs` features one output reads: all."""
        return inputs


@dataclass(frozen=True)
class Normalisation:
    """Batch normalisation by running statistics: x · factor + shift, each [C]."""

    name: str
    source: str
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True)
class GroupNormalisation:
    """Normalisation by the statistics of each image and group of channels, then · factor + shift, each [C]."""

    name: str
    source: str
    factor: Tensor
    shift: Tensor
    groups: int
    epsilon: float


@dataclass(frozen=True)
class LayerNormalisation:
    """Normalisation by the statistics of each pixel's channels, or of a whole image, then · factor + shift.

    Both are [C], or [C, H, W] for those of a whole image.
    """

    name: str
    source: str
    factor: Tensor
    shift: Tensor
    epsilon: float


@dataclass(frozen=True)
class Activation:
    """Function of single elements, by its name in ONNX, or `Silu`."""

    name: str
    source: str
    function: str


@dataclass(frozen=True)
class Clip:
    """Each element, but no less than `low` and no more than `high`."""

    name: str
    source: str
    low: float
    high: float


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape, at the end of a residual branch."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class Multiply:
    """Product of two tensors of one shape, or of an image and a gate [N, C, 1, 1] for each of its channels."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class Concat:
    """The channels of two or more tensors one after the other; `source` is the first, `others` are the next."""

    name: str
    source: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class MaxPool:
    """Maximum over each window."""

    name: str
    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class AveragePool:
    """Mean over each window, in which the pixels of the padding count as zeros, or not at all."""

    name: str
    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    count_padding: bool


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
# Nodes with parameters but no random weight.
Normalising = Normalisation | GroupNormalisation | LayerNormalisation
# Nodes that compute each element from one of each source, and have no parameters.
Elementwise = Activation | Clip | Add | Multiply
Node = Weighted | Normalising | Elementwise | Concat | MaxPool | AveragePool | GlobalAveragePool | Flatten
AnyNode = TypeVar("AnyNode", bound=Node)


def sources(node: Node) -> tuple[str, ...]:
    """Return the names of the tensors that a node reads."""
    if isinstance(node, Add | Multiply):
        return node.source, node.other
    return (node.source, *node.others) if isinstance(node, Concat) else (node.source,)


def reading(node: AnyNode, names: Mapping[str, str]) -> AnyNode:
    """Return a node that reads other tensors in place of some, by name."""
    source, *others = (names.get(name, name) for name in sources(node))
    if isinstance(node, Add | Multiply):
        return replace(node, source=source, other=others[0])
    if isinstance(node, Concat):
        return replace(node, source=source, others=tuple(others))
    return replace(node, source=source)


def read_channels(node: Weighted) -> Tensor:
    """Return int64 [out, in / groups]: the input channel that each column of each row of a weight reads."""
    rows, columns = node.weight.mean.shape[:2]
    group = torch.arange(rows) // (rows // node.groups)
    return group[:, None] * columns + torch.arange(columns)
