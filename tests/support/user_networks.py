"""Networks as people write them, small: each in the style of a known architecture or of a habit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.dataset import Pixels


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


class SELayer(nn.Module):
    """Squeeze and excitation, as it is copied from repository to repository."""

    def __init__(self, channel: int, reduction: int = 4) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SEBlock(nn.Module):
    """A residual block with squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.se = SELayer(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        out = self.se(self.bn(self.conv(x)))
        out += residual
        return self.relu(out)


class SENet(nn.Module):
    """Two blocks with squeeze and excitation."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 32, 3, padding=1)
        self.blocks = nn.Sequential(SEBlock(32), nn.MaxPool2d(2), SEBlock(32))
        self.fc = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        x = F.avg_pool2d(x, (x.shape[2], x.shape[3]))
        return self.fc(torch.flatten(x, 1))


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


class DenseLayer(nn.Module):
    """Normalisation before the convolution, and concatenation after it."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class DenseNet(nn.Module):
    """Dense layers with a transition between them."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1), DenseLayer(16, 16), DenseLayer(32, 16))
        self.transition = nn.Sequential(nn.Conv2d(48, 24, 1), nn.AvgPool2d(2, 2))
        self.last = DenseLayer(24, 16)
        self.norm = nn.BatchNorm2d(40)
        self.classifier = nn.Linear(40, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.last(self.transition(self.features(x))))
        out = F.relu(features, inplace=True)
        out = F.adaptive_avg_pool2d(out, (1, 1))
        return self.classifier(torch.flatten(out, 1))


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, and linear layers on the channels of each pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 2 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        input = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
        x = self.norm(x)
        x = self.pwconv1(x)
        x = self.act(x)
        x = self.pwconv2(x)
        x = x.permute(0, 3, 1, 2)
        return input + x


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation of the channels of images, as torchvision has it."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A patch stem, blocks, a normalised vector and a head."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 24, 4, stride=4), LayerNorm2d(24, eps=1e-6))
        self.stages = nn.Sequential(ConvNeXtBlock(24), ConvNeXtBlock(24))
        self.norm = nn.LayerNorm(24, eps=1e-6)
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.head(self.norm(x.mean([-2, -1])))


class LeNet(nn.Module):
    """The tutorial's network, but for its view, whose features are counted by hand."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(24 * 4 * 4, 48)
        self.fc2 = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.reshape(-1, 24 * 4 * 4)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class InPlace(nn.Module):
    """Operations in place, one of them on a tensor that is read again."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        out = self.conv2(self.act(x))
        out += x  # what the activation has changed
        out = out.relu_()
        return self.fc(out.clamp(max=4.0).mean((2, 3)))


class BasicBlock(nn.Module):
    """A residual block in timm's style: layers may be nothing, and are called by their role."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.drop_block = nn.Identity()
        self.act1 = nn.ReLU(inplace=True)
        self.aa = nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.se = None
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
            self.downsample = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.act1(self.drop_block(self.bn1(self.conv1(x))))
        x = self.aa(x)
        x = self.bn2(self.conv2(x))
        if self.se is not None:
            x = self.se(x)
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        x += shortcut
        return self.act2(x)


class TimmResNet(nn.Module):
    """A residual network in timm's style, with convolutions in groups."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(32, 32))
        self.layer2 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64))
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.drop_rate = 0.1
        self.fc = nn.Linear(64, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        return self.layer2(self.layer1(x))

    def forward_head(self, x: Tensor) -> Tensor:
        x = self.global_pool(x)
        if self.drop_rate:
            x = F.dropout(x, p=float(self.drop_rate), training=self.training)
        return self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


class SharedActivation(nn.Module):
    """One activation and one pool in every place."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.fc1, self.fc2 = nn.Linear(32 * 16, 32), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = x.reshape(x.shape[0], -1)
        return self.fc2(self.relu(self.fc1(x)))


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
