"""Networks that pruning cannot follow are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pruning.errors import TraceError
from pruning.trace import trace
from tests.same_draw import random_pixels, random_posterior


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


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "GELU"),
        (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3)), "groups"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2)), "all pixels"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "ceil mode"),
        (Branching(), "cannot be traced"),
        (Multiplying(), "mul"),
    ],
    ids=["activation", "groups", "pooling", "ceil", "control flow", "product"],
)
def test_refused_by_name(plain: nn.Module, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        trace(plain, random_posterior(plain, 0), random_pixels(3, 8))
