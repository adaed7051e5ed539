"""ResNet-18 and ResNet-50 in their ImageNet form (He et al. 2016, table 1), with the stride of a bottleneck in its 3x3
convolution. Layers have the names of torchvision's files, which are read as they are.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from training.architectures.pretraining import Pretraining

WIDTHS = (64, 128, 256, 512)
PRETRAINING = Pretraining(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), head="fc")


class BasicBlock(nn.Module):
    """Residual block: two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = self.relu(self.bn1(self.conv1(x_NCHW)))
        out_NCHW: Tensor = self.relu(self.bn2(self.conv2(y_NCHW)) + self.downsample(x_NCHW))
        return out_NCHW


class Bottleneck(nn.Module):
    """Residual block: 1x1, 3x3 and 1x1 convolutions, the last to four times the width, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = self.relu(self.bn1(self.conv1(x_NCHW)))
        y_NCHW = self.relu(self.bn2(self.conv2(y_NCHW)))
        out_NCHW: Tensor = self.relu(self.bn3(self.conv3(y_NCHW)) + self.downsample(x_NCHW))
        return out_NCHW


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Build the shortcut: a 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def build_18(channels: int, classes: int) -> nn.Module:
    """Build ResNet-18 for images of `channels` channels and `classes` classes."""
    return _residual_network(channels, classes, BasicBlock, (2, 2, 2, 2))


def build_50(channels: int, classes: int) -> nn.Module:
    """Build ResNet-50 likewise."""
    return _residual_network(channels, classes, Bottleneck, (3, 4, 6, 3))


def _residual_network(
    channels: int, classes: int, block: type[BasicBlock | Bottleneck], counts: tuple[int, ...]
) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, WIDTHS[0], 7, 2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(WIDTHS[0]),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, padding=1),
    )
    inputs = WIDTHS[0]
    for stage, (width, count) in enumerate(zip(WIDTHS, counts, strict=True), 1):
        blocks = []
        for number in range(count):
            blocks.append(block(inputs, width, 2 if stage > 1 and number == 0 else 1))
            inputs = width * block.expansion
        parts[f"layer{stage}"] = nn.Sequential(*blocks)
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(inputs, classes)}
    network = nn.Sequential(parts)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
