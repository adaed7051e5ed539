"""ResNet-20 in its CIFAR form (He et al. 2016, section 4.2), with 1x1 convolutions where a stage changes shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Block(nn.Module):
    """Residual block: two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = self.relu(self.norm1(self.conv1(x_NCHW)))
        out_NCHW: Tensor = self.relu(self.norm2(self.conv2(y_NCHW)) + self.shortcut(x_NCHW))
        return out_NCHW


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes."""
    return residual_network(channels, classes, widths=(16, 32, 64), blocks=3)


def residual_network(channels: int, classes: int, widths: Sequence[int], blocks: int) -> nn.Module:
    """Build a stem, a stage of `blocks` blocks for each width, halving the resolution between stages, and a head."""
    first, last = widths[0], widths[-1]
    stem = [nn.Conv2d(channels, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
    stages = [
        Block(inputs if number == 0 else outputs, outputs, 2 if number == 0 and inputs != outputs else 1)
        for inputs, outputs in pairwise((first, *widths))
        for number in range(blocks)
    ]
    network = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
