"""ResNet-18 in its CIFAR form: a 3x3 stem without pooling and one linear head (He et al. 2016)."""

from __future__ import annotations

from torch import nn

from training.architectures.resnet20 import residual_network


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes."""
    return residual_network(channels, classes, widths=(64, 128, 256, 512), blocks=2)
