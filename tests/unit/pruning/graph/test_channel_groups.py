"""Numbers of channels: what is removed together, on networks whose numbers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model_store.onnx_file.format import IMAGES
from pruning.graph.channel_groups import ChannelGroups, channel_groups
from tests.support.random_networks import CHANNELS, STEPS, Halves, random_network
from tests.support.same_draw import random_pixels, random_posterior, traced


def grouped(plain: nn.Module, channels: int = 3) -> ChannelGroups:
    plain.eval()
    return channel_groups(traced(plain, random_posterior(plain, 0), random_pixels(channels, 8)))


def chain(*layers: nn.Module) -> nn.Module:
    """These layers between a convolution to eight channels and a head."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    network = nn.Sequential(nn.Conv2d(3, 8, 1), *layers, head).eval()
    network(torch.zeros(2, 3, 8, 8))
    return network


@pytest.mark.parametrize(
    ("layer", "numbers"),
    [
        (nn.ReLU(), [0, 1, 2, 3, 4, 5, 6, 7]),
        (nn.Conv2d(8, 8, 1, groups=8), [0, 1, 2, 3, 4, 5, 6, 7]),
        (nn.Conv2d(8, 16, 1, groups=8), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]),
        (nn.GroupNorm(2, 8), [0, 1, 2, 3, 0, 1, 2, 3]),
        (nn.GroupNorm(8, 8), [0] * 8),
        (nn.Conv2d(8, 4, 1, groups=2), [4, 5, 4, 5]),
        (nn.Conv2d(8, 4, 1), [8, 9, 10, 11]),
    ],
)
def test_numbers_of_what_a_layer_makes(layer: nn.Module, numbers: list[int]) -> None:
    """Counted from the first of the convolution before it."""
    found = grouped(chain(layer)).numbers
    name = "_1" if "_1" in found else "1"
    assert (found[name] - found["0"][0]).tolist() == numbers


def test_equal_groups_read_the_same_of_each() -> None:
    found = grouped(chain(nn.Conv2d(8, 4, 1, groups=2))).numbers
    assert (found["0"] - found["0"][0]).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


class Shuffled(nn.Module):
    """Two layers side by side, both ways round, so that each channel is added to one of the other layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.one(x), self.other(x)
        return self.head((torch.cat([one, other], 1) + torch.cat([other, one], 1)).mean((2, 3)))


def test_sums_make_numbers_one_channel_by_channel() -> None:
    found = grouped(Shuffled())
    assert found.numbers["one"].tolist() == found.numbers["other"].tolist()
    assert found.numbers["cat"].tolist() == [*found.numbers["one"].tolist()] * 2
    assert len(found.groups) == 3 + 2 + 2
    assert found.of("one") == found.of("other") == found.of("cat")


def test_parts_of_a_sum_with_halves_are_groups_of_their_own() -> None:
    """A layer keeps channels as long as each of its groups does, so that no half of a cat can go whole."""
    network = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 1), Halves(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)
    )
    found = grouped(network)
    assert len(found.of("1.left")) == len(found.of("1.right")) == 1
    assert found.of("0") == found.of("1.left") | found.of("1.right")


@pytest.mark.parametrize("step", sorted(STEPS))
def test_kept_channels_are_those_of_kept_numbers(step: str) -> None:
    """Of every tensor; images and logits are numbered, too."""
    network = random_network([step], "hidden", 0)
    found = grouped(network)
    keep = torch.arange(len(found.groups)) % 3 > 0
    kept = found.kept(keep)
    assert kept.keys() == found.numbers.keys() >= {IMAGES}
    assert all(keep[found.numbers[name][rows]].all() for name, rows in kept.items())
    assert sum(map(len, kept.values())) == sum(int(keep[numbers].sum()) for numbers in found.numbers.values())
