"""Networks of random operations, for property tests: steps in any order, each on a number of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.user_networks.convnext import LayerNorm2d

# Fits all groups, and is narrow enough to be fast.
CHANNELS = 16


class Residual(nn.Module):
    """The sum of a branch's input and output."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + x


class Dense(nn.Module):
    """A layer's output beside its input, and a layer that brings both to as many channels as before."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(CHANNELS, 8, 3, padding=1)
        self.shrink = nn.Conv2d(CHANNELS + 8, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shrink(torch.cat((self.grow(x), x), dim=1).relu())


class Halves(nn.Module):
    """Two halves of the channels side by side, added to all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(CHANNELS, 6, 1), nn.Conv2d(CHANNELS, CHANNELS - 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1) + x


class Gate(nn.Module):
    """Squeeze and excitation, by linear layers or by convolutions."""

    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.squeeze: nn.Module = nn.Linear(CHANNELS, 4) if linear else nn.Conv2d(CHANNELS, 4, 1)
        self.excite: nn.Module = nn.Linear(4, CHANNELS) if linear else nn.Conv2d(4, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=not self.linear)
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(gate))))
        return x * (gate[:, :, None, None] if self.linear else gate)


class LastChannels(nn.Module):
    """Normalisation and linear layers with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)
        self.wide, self.narrow = nn.Linear(CHANNELS, 24), nn.Linear(24, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class Product(nn.Module):
    """The product of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(self.one(x), self.other(x).sigmoid())


def _convolution(**options: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=options.pop("padding", 1), **options)  # type: ignore[arg-type]


STEPS: Mapping[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "strided": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1, bias=False),
    "dilated": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2),
    "grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=4),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "multiplied": lambda: nn.Sequential(
        nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1, groups=CHANNELS), nn.Conv2d(2 * CHANNELS, CHANNELS, 1)
    ),
    "batch norm": lambda: nn.BatchNorm2d(CHANNELS),
    "group norm": lambda: nn.GroupNorm(4, CHANNELS),
    "instance norm": lambda: nn.GroupNorm(CHANNELS, CHANNELS, eps=1e-3),
    "layer norm": lambda: LayerNorm2d(CHANNELS, eps=1e-6),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "gelu": nn.GELU,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 2.0),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1),
    "average pool without padding": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "residual": lambda: Residual(nn.ReLU(), nn.Conv2d(CHANNELS, 8, 1), nn.GELU(), nn.Conv2d(8, CHANNELS, 3, padding=1)),
    "dense": Dense,
    "halves": Halves,
    "linear gate": lambda: Gate(linear=True),
    "gate": lambda: Gate(linear=False),
    "last channels": LastChannels,
    "product": Product,
}
HEADS: Mapping[str, Callable[[], nn.Module]] = {
    "mean": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 5)),
    "pixels": lambda: nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.ReLU(), nn.Linear(2 * CHANNELS, 5)),
    "hidden": lambda: nn.Sequential(
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * CHANNELS, 16),
        nn.BatchNorm1d(16),
        nn.SiLU(),
        nn.LayerNorm(16),
        nn.Linear(16, 5),
    ),
}


def random_network(steps: Sequence[str], head: str, seed: int) -> nn.Module:
    """A network of 3 channels, 8 x 8 pixels and 5 classes that takes these steps, in evaluation mode."""
    torch.manual_seed(seed)
    stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
    return nn.Sequential(stem, *(STEPS[step]() for step in steps), HEADS[head]()).eval()
