"""VGG-16 in its CIFAR form: thirteen normalised 3x3 convolutions and one linear head (Simonyan and Zisserman 2015)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from training.architectures.convnet import block

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes, of at least 32x32 pixels."""
    widths = [channels, *(width for stage in STAGES for width in stage)]
    convolutions = iter(block(inputs, outputs) for inputs, outputs in pairwise(widths))
    stages = [nn.Sequential(*(next(convolutions) for _ in stage), nn.MaxPool2d(2)) for stage in STAGES]
    network = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
