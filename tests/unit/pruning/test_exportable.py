"""What cannot be exported is refused before training, by name and line; what cannot be pruned is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning.errors import TraceError
from pruning.exportable import check_exportable
from tests.support.same_draw import random_pixels
from tests.support.user_networks import USER_NETWORKS
from tests.support.user_networks.chains import LeNet
from tests.support.user_networks.convnext import ConvNeXtBlock
from training.errors import ConversionError


@pytest.mark.parametrize("name", USER_NETWORKS)
def test_networks_that_can_be_exported_are_left_as_they_are(name: str) -> None:
    user = USER_NETWORKS[name]
    plain = user.module().train()
    before = {key: tensor.clone() for key, tensor in plain.state_dict().items()}
    reasons = check_exportable(plain, user.pixels)
    assert bool(reasons) == (user.build is LeNet)
    assert plain.training
    assert all(torch.equal(before[key], tensor) for key, tensor in plain.state_dict().items())


def test_the_reason_to_keep_channels_has_the_line() -> None:
    (reason,) = check_exportable(LeNet(3, 10), random_pixels(3, 16))
    assert reason.startswith("pool_1: its number of channels is written in reshape (in ")
    assert reason.endswith("x = x.reshape(-1, 24 * 4 * 4))")


def test_what_reads_and_feeds_a_frozen_layer_is_kept() -> None:
    plain = USER_NETWORKS["timm-style ResNet"].module()
    plain.get_submodule("layer1").requires_grad_(False)
    reasons = check_exportable(plain, random_pixels(3, 16))
    assert all("a deterministic layer's channels have no score" in reason for reason in reasons)
    assert reasons


class ScaledBlock(ConvNeXtBlock):
    """A block with a scale of its own for each channel, as ConvNeXt has it."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gamma = nn.Parameter(torch.ones(dim))


class Twice(nn.Module):
    """A network with one convolution in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(self.stem(x)))
        x = torch.relu(self.conv(x))
        return self.head(x.mean((2, 3)))


class Viewing(LeNet):
    """The tutorial's network, with its view."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.pool(self.conv2(self.conv1(x))))
        return self.fc2(self.fc1(x.view(-1, 24 * 4 * 4)))


class Upsampling(nn.Module):
    """A network with an operation that levels do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(self.conv(x), scale_factor=2.0)
        return x.mean((2, 3))


def _deep(layers: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 1), *(nn.ReLU() for _ in range(layers)), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("plain", "error", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 1), ScaledBlock(8)), ConversionError, "^1: cannot make a ScaledBlock Bayesian"),
        (
            Twice(),
            TraceError,
            r"^conv: a layer may be used once.* line \d+: x = torch.relu\(self.conv",
        ),
        (Viewing(3, 10), TraceError, r"^view: .* use reshape or flatten.*line \d+: return self.fc2\(self.fc1\(x.view"),
        (Upsampling(), TraceError, r"^interpolate: .*test_exportable.py, line \d+: x = nn.functional.interpolate"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4)), ConversionError, "^1: cannot make a PReLU Bayesian"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Mish(), nn.Flatten()), TraceError, "^1: .*Mish cannot be exported"),
        (_deep(4_100), TraceError, r"^the network cannot be served: the file has 4,\d+ nodes, more than 4,096"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(plain: nn.Module, error: type[Exception], says: str) -> None:
    pixels = random_pixels(3, 16 if isinstance(plain, LeNet) else 8)
    with pytest.raises(error, match=says):
        check_exportable(plain, pixels)
