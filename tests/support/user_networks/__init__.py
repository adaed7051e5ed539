"""Networks as people write them, small: each in the style of a known architecture or of a habit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from tests.support.user_networks.chains import InPlace, LeNet, SharedActivation
from tests.support.user_networks.convnext import ConvNeXt
from tests.support.user_networks.mobile import DepthwiseGroupNorm, EfficientNet, MobileNet, MobileNetV3
from tests.support.user_networks.residual import DenseNet, SENet, TimmResNet
from training.data.dataset import Pixels


@dataclass(frozen=True)
class UserNetwork:
    """A network's class, and the images and classes that it is for."""

    build: Callable[[int, int], nn.Module]
    channels: int = 3
    classes: int = 10
    height: int = 16
    width: int = 16

    @property
    def pixels(self) -> Pixels:
        """The images, with a normalisation that is not trivial."""
        means, stds = (0.4, 0.5, 0.3)[: self.channels], (0.2, 0.3, 0.25)[: self.channels]
        return Pixels(self.height, self.width, self.channels, means, stds)

    def module(self) -> nn.Module:
        """A new network, in evaluation mode."""
        torch.manual_seed(0)
        return self.build(self.channels, self.classes).eval()


USER_NETWORKS: Mapping[str, UserNetwork] = {
    "MobileNet-like": UserNetwork(MobileNet),
    "depthwise and GroupNorm": UserNetwork(DepthwiseGroupNorm),
    "squeeze and excitation": UserNetwork(SENet),
    "MobileNetV3-like": UserNetwork(MobileNetV3),
    "EfficientNet-like": UserNetwork(EfficientNet),
    "DenseNet-like": UserNetwork(DenseNet),
    "ConvNeXt-like": UserNetwork(ConvNeXt),
    "counted features": UserNetwork(LeNet),
    "in place": UserNetwork(InPlace),
    "timm-style ResNet": UserNetwork(TimmResNet),
    "shared activation": UserNetwork(SharedActivation),
    "one channel": UserNetwork(LeNet, channels=1),
    "rectangular": UserNetwork(MobileNet, height=12, width=20),
    "200 classes": UserNetwork(DenseNet, classes=200),
}
