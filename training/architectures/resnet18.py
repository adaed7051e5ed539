"""ResNet-18 in its CIFAR form: a 3x3 stem without pooling and one linear head (He et al. 2016)."""

from __future__ import annotations

from torch import nn

from training.architectures.resnet20 import Block


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes."""
    stem = [nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    stages = [
        Block(inputs if first else outputs, outputs, stride if first else 1)
        for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        for first in (True, False)
    ]
    network = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
