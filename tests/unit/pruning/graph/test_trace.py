"""Networks that pruning cannot follow are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning.errors import TraceError
from pruning.graph.trace import trace
from tests.support.same_draw import random_pixels, random_posterior


class Branching(nn.Module):
    """Decides by its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Multiplying(nn.Module):
    """Multiplies two tensors, which is no residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * x


class Forward(nn.Module):
    """A network whose forward pass is a function of one convolution and the images."""

    def __init__(self, run: Callable[[nn.Module, torch.Tensor], torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "GELU"),
        (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3)), "groups"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2)), "all pixels"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "ceil mode"),
        (Branching(), "cannot be traced"),
        (Multiplying(), "mul"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), "padding"),
        (Forward(lambda net, x: torch.add(net.conv(x), x, alpha=2)), "named arguments: alpha"),
        (Forward(lambda net, x: net.conv(x) + x.mean((2, 3), keepdim=True)), "mean"),
        (Forward(lambda net, x: net.conv(x) + net.pool(x), pool=nn.AdaptiveAvgPool2d(1)), "of one shape"),
        (Forward(lambda net, x: net.conv(net.conv(x))), "used once"),
        (Forward(lambda net, x: net.images(x), images=nn.Conv2d(3, 4, 1)), "not be called images"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 2)), "one vector an image"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), "a weight and a bias"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(144, 2)), "what was flattened"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4), nn.MaxPool2d(4)), "does not take 8 x 8 images"),
    ],
)
def test_refused_by_name(plain: nn.Module, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        trace(plain, random_posterior(plain, 0), random_pixels(3, 8))


def test_what_the_logits_do_not_depend_on_is_left_out() -> None:
    """A layer whose output nobody reads is no part of the graph."""

    def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        net.idle(x)
        return torch.flatten(net.pool(F.relu(net.conv(x))), start_dim=1)

    plain = Forward(run, idle=nn.Conv2d(3, 4, 1), pool=nn.AdaptiveAvgPool2d(1))
    network = trace(plain, random_posterior(plain, 0), random_pixels(3, 8))
    assert list(network.weighted) == ["conv"]
