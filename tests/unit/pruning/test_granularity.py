"""What is removed at once: exactly the lowest weights, or whole channels in blocks of eight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pruning.cost.budget import UNITS, Budget, layer_costs, total_cost
from pruning.cost.latency import Timings
from pruning.criteria import CRITERIA
from pruning.errors import LevelError, NotFoundError
from pruning.granularity import GRANULARITIES, RANKINGS, check_level, check_ranking, granularity
from pruning.granularity.channel import kept_channels
from pruning.granularity.mask import Mask, weights_left
from pruning.granularity.narrowing import narrow_module
from pruning.graph.channel_groups import channel_groups
from pruning.graph.network import Network
from pruning.level import Level
from tests.support.same_draw import network_of, random_pixels, random_posterior, traced, without
from tests.support.user_networks import USER_NETWORKS
from training.bayesian.posterior import Posterior

Subject = tuple[Any, Network, Posterior]
PIXELS = random_pixels(3, 16)


@pytest.fixture(params=["convnet", "resnet20"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A plain network, its graph and its posterior."""
    plain, posterior = network_of(request.param, 3, seed=2)
    return plain, traced(plain, posterior, PIXELS), posterior


def snr(posterior: Posterior) -> dict[str, Tensor]:
    return CRITERIA["snr"].scores(posterior, 1.0, torch.Generator())


def widths(network: Network) -> dict[str, int]:
    return {name: network.widths[name] for name in network.weighted}


@pytest.mark.parametrize("wanted", [0.1, 0.5, 0.8, 0.95])
def test_weight_removes_the_lowest(subject: Subject, wanted: float) -> None:
    """Exactly the share asked for; what is left scores higher, and each layer keeps its best hundredth."""
    _, network, posterior = subject
    scores, count = snr(posterior), weights_left(posterior)
    mask = granularity("weight")(network, posterior, scores, Budget("p", (1 - wanted) * count), "global", Timings())
    assert isinstance(mask, Mask)
    assert sum(int((~kept).sum()) for kept in mask.kept.values()) == round(wanted * count)
    removed = torch.cat([scores.of_weights[name][~kept] for name, kept in mask.kept.items()])
    for name, kept in mask.kept.items():
        assert kept.any()
        assert (kept & (scores.of_weights[name] < removed.max())).sum() <= torch.tensor(0.01 * kept.numel()).ceil()


def test_weight_by_layer_removes_the_same_share_of_each(subject: Subject) -> None:
    _, network, posterior = subject
    for weight in without(network, posterior, "weight", 0.8, "layer").weights.values():
        assert float((weight.scale > 0).float().mean()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.8, 0.9])
def test_channel_keeps_multiples_of_eight(subject: Subject, wanted: float, ranking: str) -> None:
    """Coupled layers keep as many channels, a multiple of eight; what is gone is near what was asked for."""
    plain, network, posterior = subject
    left = without(network, posterior, "channel", wanted, ranking)
    narrow = traced(plain, left, PIXELS)
    channels, of_group = channel_groups(network), {}
    for name, width in widths(narrow).items():
        if channels.of(name) == channels.of(network.output):
            assert width == 10
        else:
            assert width % 8 == 0
            (group,) = channels.of(name)
            assert of_group.setdefault(group, width) == width
    assert abs(1 - weights_left(left) / weights_left(posterior) - wanted) < 0.07


@pytest.mark.parametrize("kind", UNITS)
def test_channel_stays_within_its_budget(subject: Subject, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the weights or of the multiply-adds, or less time; widths fall no further than they must.

    A millisecond is ten kilobytes here: clocks are noisy.
    """
    monkeypatch.setattr("pruning.cost.latency._measure_ms", lambda model, x: len(model) / 1e4)
    plain, network, posterior = subject
    timings = Timings()
    cost = layer_costs(timings)[kind]
    budget = Budget(kind, total_cost(network, cost) / 4 if kind != "t" else total_cost(network, cost) / 1.5)
    removal = granularity("channel")(network, posterior, snr(posterior), budget, "global", timings)
    left = removal.apply(posterior)
    found = total_cost(traced(plain, left, PIXELS), cost)
    assert found <= budget.limit * (1.4 if kind == "p" else 1)
    assert found > budget.limit * 0.5


def test_channel_by_layer_narrows_all_alike(subject: Subject) -> None:
    plain, network, posterior = subject
    left = without(network, posterior, "channel", 0.75, "layer")
    before, after = widths(network), widths(traced(plain, left, PIXELS))
    for name, width in after.items():
        if width != 10:
            assert abs(width - before[name] / 2) <= 8


def test_channel_keeps_what_is_worth_most(subject: Subject) -> None:
    """Channels whose weights are a hundred times surer are among those that stay."""
    _, network, posterior = subject
    name = list(posterior.weights)[1]
    mean = posterior.weights[name].mean
    sure = torch.randperm(len(mean), generator=torch.Generator().manual_seed(0))[:8]
    mean[sure] *= 100
    left = without(network, posterior, "channel", 0.6).weights[name].mean
    largest = left.flatten(1).abs().amax(1)
    assert (largest > 10 * mean.abs().median()).sum() == len(sure)


@pytest.mark.parametrize("name", ["MobileNet-like", "depthwise and GroupNorm", "timm-style ResNet", "DenseNet-like"])
def test_channel_keeps_multiples_of_eight_through_groups_and_cat(name: str) -> None:
    """Also where one number stands for several channels; what is concatenated loses its parts' channels."""
    user = USER_NETWORKS[name]
    plain, posterior = user.module(), random_posterior(user.module(), 0)
    network = traced(plain, posterior, user.pixels)
    for ranking in RANKINGS:
        left = without(network, posterior, "channel", 0.5, ranking)
        assert weights_left(left) < 0.75 * weights_left(posterior)
        narrow = traced(narrow_module(plain, left), left, user.pixels)
        assert all(width % 8 == 0 for each, width in widths(narrow).items() if each != network.output)


def test_a_group_with_a_layer_without_scores_is_kept() -> None:
    """That of a deterministic layer, made and read; its weights are no part of the budget."""
    user = USER_NETWORKS["MobileNet-like"]
    plain, posterior = user.module(), random_posterior(user.module(), 0)
    network, name = traced(plain, posterior, user.pixels), "features.4.conv.3"
    weights = {each: weight for each, weight in posterior.weights.items() if each != f"{name}.weight"}
    fixed = Posterior(weights, dict(posterior.rest) | {f"{name}.weight": posterior.weights[f"{name}.weight"].mean})
    (reason,) = kept_channels(traced(plain, fixed, user.pixels), fixed)
    assert reason == f"{name}: a deterministic layer's channels have no score"
    left = without(network, fixed, "channel", 0.4)
    assert left.rest[f"{name}.weight"].shape == fixed.rest[f"{name}.weight"].shape
    assert abs(weights_left(left) / weights_left(fixed) - 0.6) < 0.07
    assert kept_channels(network, posterior) == []


def test_channel_refuses_what_cannot_go(subject: Subject) -> None:
    """No layer vanishes: it says what would be left."""
    _, network, posterior = subject
    for kind in ("p", "x"):
        budget = Budget(kind, 10.0)
        with pytest.raises(LevelError, match=f"no more channels can be removed: .* {UNITS[kind]} are left, not 10"):
            granularity("channel")(network, posterior, snr(posterior), budget, "global", Timings())


def test_weight_refuses_what_zeros_cannot_save(subject: Subject) -> None:
    _, network, posterior = subject
    for name, unit in (("x4", "multiply-adds"), ("t500", "milliseconds")):
        with pytest.raises(LevelError, match=f"{name}: zeros among weights save no {unit}"):
            check_level("weight", Level.parse(name))
        check_level("channel", Level.parse(name))
    check_level("weight", Level.parse("p80"))
    with pytest.raises(LevelError, match="each layer keeps 1%"):
        without(network, posterior, "weight", 0.9999)


def test_pruned_means_exactly_zero(subject: Subject) -> None:
    """Mean and scale, so that a pruned weight draws zero; a scale of softplus(0) = 0.69 would fail here."""
    _, network, posterior = subject
    for name, weight in without(network, posterior, "weight", 0.8).weights.items():
        gone = weight.mean == 0
        assert gone.any(), name
        assert (weight.scale[gone] == 0).all()
        assert (weight.draw(torch.Generator().manual_seed(0))[gone] == 0).all()
        assert (weight.scale[~gone] > 0).all()


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="there is weight, channel"):
        granularity("layer")
    with pytest.raises(NotFoundError, match="there is global, layer"):
        check_ranking("best")
    assert set(GRANULARITIES) == {"weight", "channel"}
