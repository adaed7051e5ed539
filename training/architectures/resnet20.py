"""ResNet-20 in its CIFAR form (He et al. 2016, section 4.2), with 1x1 convolutions where a stage changes shape."""

from __future__ import annotations

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
    stem = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    stages = [
        Block(inputs if first else outputs, outputs, stride if first else 1)
        for inputs, outputs, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for first in (True, False, False)
    ]
    network = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
