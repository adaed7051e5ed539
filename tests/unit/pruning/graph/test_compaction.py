"""What compaction removes; that it is exact is in test_same_draw."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning.graph.compaction import compact, constants
from pruning.graph.folding import fold
from pruning.graph.network import Network
from pruning.graph.nodes import Add, Normalisation
from tests.support.same_draw import network_of, random_pixels, random_posterior, traced
from training.bayesian.posterior import GaussianWeight, Posterior


def with_zeros(posterior: Posterior, zeros: dict[str, Tensor | slice]) -> Posterior:
    """The posterior with rows of some weights pruned."""
    weights = dict(posterior.weights)
    for name, rows in zeros.items():
        mean, scale = weights[name].mean.clone(), weights[name].scale.clone()
        mean[rows], scale[rows] = 0, 0
        weights[name] = GaussianWeight(mean, scale)
    return Posterior(weights, posterior.rest)


def chain(bias: float) -> tuple[nn.Module, Posterior]:
    """Two convolutions and a head; every bias of the first convolution is `bias`."""
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip
    posterior = random_posterior(plain, 0)
    return plain, Posterior(posterior.weights, dict(posterior.rest) | {"0.bias": torch.full((8,), bias)})


def compacted(plain: nn.Module, posterior: Posterior) -> Network:
    return compact(fold(traced(plain, posterior, random_pixels(3, 8))).network).network


def widths(network: Network) -> list[int]:
    """Output channels of each weight."""
    return [len(node.weight.mean) for node in network.weighted.values()]


@pytest.mark.parametrize(("bias", "left"), [(0.0, 5), (-0.5, 5), (0.5, 8)])
def test_a_filter_of_zeros(bias: float, left: int) -> None:
    """Dead where its rectified bias is zero; a positive bias still speaks to the next layer."""
    plain, posterior = chain(bias)
    assert widths(compacted(plain, with_zeros(posterior, {"0.weight": slice(0, 3)}))) == [left, 8, 4]


def test_a_channel_that_nobody_reads_dies_and_takes_its_makers_with_it() -> None:
    """Backwards through two layers."""
    plain, posterior = chain(0.5)
    weights = dict(posterior.weights)
    head, middle = weights["6.weight"], weights["2.weight"]
    head.mean[:, 4:], head.scale[:, 4:] = 0, 0
    middle.mean[:4, 6:], middle.scale[:4, 6:] = 0, 0
    assert widths(compacted(plain, Posterior(weights, posterior.rest))) == [6, 4, 4]


def test_everything_dead_leaves_one_channel() -> None:
    """No layer vanishes."""
    plain, posterior = chain(0.0)
    rest = dict(posterior.rest) | {"2.bias": torch.zeros(8)}
    dead = with_zeros(Posterior(posterior.weights, rest), {"2.weight": slice(None)})
    assert widths(compacted(plain, dead)) == [1, 1, 4]


def test_a_dead_residual_branch_goes_whole() -> None:
    """Its sum and its two convolutions disappear from the graph."""
    plain, posterior = network_of("resnet20", 3, 0)
    rest = dict(posterior.rest) | {f"4.norm2.{part}": torch.zeros(16) for part in ("weight", "bias")}
    posterior = with_zeros(Posterior(posterior.weights, rest), {"4.conv2.weight": slice(None)})
    before = fold(traced(plain, posterior, random_pixels(3, 16))).network
    after = compact(before).network
    assert {"4.conv1", "4.conv2"} & before.weighted.keys() == {"4.conv1", "4.conv2"}
    assert {"4.conv1", "4.conv2"} & after.weighted.keys() == set()
    sums = [sum(isinstance(node, Add) for node in network.nodes) for network in (before, after)]
    assert sums[1] == sums[0] - 1


def test_residual_sums_hold_channels_together() -> None:
    """A channel of a sum goes only when it is dead in each of its terms."""
    plain, posterior = network_of("resnet20", 3, 0)
    stage = ["0.weight", *(f"{block}.conv2.weight" for block in (3, 4, 5))]
    rest = dict(posterior.rest)
    for norm in ("1", "3.norm2", "4.norm2", "5.norm2"):
        rest[f"{norm}.bias"] = torch.zeros(16)
        rest[f"{norm}.running_mean"] = torch.zeros(16)
    posterior = Posterior(posterior.weights, rest)
    some = compacted(plain, with_zeros(posterior, dict.fromkeys(stage[:-1], slice(0, 4))))
    every = compacted(plain, with_zeros(posterior, dict.fromkeys(stage, slice(0, 4))))
    assert len(some.weighted["0"].weight.mean) == 16
    assert {len(every.weighted[name.removesuffix(".weight")].weight.mean) for name in stage} == {12}


def test_constants_are_what_the_network_computes() -> None:
    """Channels known to be constant are so on random images, and the others are not."""
    plain, posterior = chain(0.3)
    posterior = with_zeros(posterior, {"0.weight": slice(0, 3), "2.weight": slice(2, 4)})
    known = constants(traced(plain, posterior, random_pixels(3, 8)))
    x = torch.randn(5, 3, 8, 8)
    plain.load_state_dict(posterior.mean())
    for name, module in plain.named_children():
        x = module(x)
        values = known.get(name, known.get(f"_{name}"))
        if values is not None:
            spread = x.transpose(0, 1).flatten(1)
            constant = ~values.isnan()
            assert torch.allclose(spread[constant], values[constant][:, None].expand_as(spread[constant]))
            assert (spread[~constant].std(1) > 0).all()


def test_fold_leaves_no_normalisation_after_a_convolution() -> None:
    """All of resnet20's go; one that follows something else stays."""
    plain, posterior = network_of("resnet20", 3, 0)
    folding = fold(traced(plain, posterior, random_pixels(3, 16)))
    assert not [node for node in folding.network.nodes if isinstance(node, Normalisation)]
    assert len(folding.factors) == 21
    alone = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    folding = fold(traced(alone, random_posterior(alone, 0), random_pixels(3, 4)))
    assert next(type(node) for node in folding.network.nodes) is Normalisation
