"""Small convolutional network: three 3x3 convolutions of 32, 64 and 128 channels."""

from __future__ import annotations

from torch import nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Build a convolution with normalisation and rectifier."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes."""
    return nn.Sequential(
        block(channels, 32),
        block(32, 64),
        nn.MaxPool2d(2),
        block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, classes),
    )
