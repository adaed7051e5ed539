"""Networks of depthwise convolutions, as for telephones: MobileNets, EfficientNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, as in MobileNetV2."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.use_res_connect = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.use_res_connect:
            return x + self.conv(x)
        return self.conv(x)


class MobileNet(nn.Module):
    """MobileNetV2's parts, and a mean over all pixels as a method."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(inplace=True),
            InvertedResidual(16, 16, 1, 2),
            InvertedResidual(16, 24, 2, 2),
            InvertedResidual(24, 24, 1, 2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.mean([2, 3])
        return self.classifier(x)


class DepthwiseGroupNorm(nn.Module):
    """Depthwise and pointwise convolutions with group normalisation."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 32, 3, padding="same")
        self.norm0 = nn.GroupNorm(8, 32)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=2, dilation=2, groups=32)
        self.norm1 = nn.GroupNorm(8, 32)
        self.pointwise = nn.Conv2d(32, 48, 1)
        self.norm2 = nn.GroupNorm(1, 48, eps=1e-6)
        self.head = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.stem(x)))
        x = F.relu(self.norm1(self.depthwise(x)))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.norm2(self.pointwise(x)))
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        return self.head(x)


class MobileNetV3(nn.Module):
    """Hardswish, and a gate of convolutions and Hardsigmoid."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.depthwise = nn.Conv2d(16, 32, 5, padding=2, groups=16)
        self.squeeze = nn.Conv2d(32, 8, 1)
        self.excite = nn.Conv2d(8, 32, 1)
        self.gate = nn.Hardsigmoid()
        self.project = nn.Conv2d(32, 16, 1)
        self.classifier = nn.Sequential(nn.Linear(16, 32), nn.Hardswish(inplace=True), nn.Linear(32, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.hardswish(self.depthwise(x))
        scale = y.mean((2, 3), keepdim=True)
        scale = self.gate(self.excite(F.relu(self.squeeze(scale))))
        x = x + self.project(scale * y)
        return self.classifier(x.mean(dim=(-2, -1)))


class EfficientNet(nn.Module):
    """SiLU and sigmoid gates, as functions and methods."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 24, 3, 2, 1)
        self.bn = nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False)
        self.reduce, self.expand = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
        self.act = nn.SiLU(inplace=True)
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.stem(x)))
        y = F.silu(self.depthwise(x))
        gate = F.adaptive_avg_pool2d(y, 1)
        gate = self.expand(F.silu(self.reduce(gate))).sigmoid()
        y = torch.mul(y, gate)
        x = torch.add(x, y)
        x = F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
        return self.head(F.dropout(x, 0.2, training=self.training))
