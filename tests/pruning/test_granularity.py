"""What is removed at once: exactly the lowest weights, or whole channels in blocks of eight."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pruning.coupling import coupled_tensors
from pruning.criteria.snr import score
from pruning.errors import UnknownNameError
from pruning.granularity import GRANULARITIES, granularity
from pruning.mask import sparsity
from pruning.network import Network
from pruning.trace import trace
from tests.same_draw import network_of, random_pixels
from training.posterior import Posterior


@pytest.fixture(params=["convnet", "resnet20"])
def subject(request: pytest.FixtureRequest) -> tuple[Network, Posterior, dict[str, Tensor]]:
    """A network, its posterior and its scores."""
    plain, posterior = network_of(request.param, 3, seed=2)
    scores = {name: score(weight) for name, weight in posterior.weights.items()}
    return trace(plain, posterior, random_pixels(3, 16)), posterior, scores


@pytest.mark.parametrize("wanted", [0.1, 0.5, 0.8, 0.95])
def test_weight_removes_the_lowest(subject: tuple[Network, Posterior, dict[str, Tensor]], wanted: float) -> None:
    """Exactly the share asked for; what is left scores higher, and each layer keeps its best hundredth."""
    network, posterior, scores = subject
    mask = granularity("weight")(network, posterior, scores, wanted)
    total = sum(kept.numel() for kept in mask.weights.values())
    assert sum(int((~kept).sum()) for kept in mask.weights.values()) == round(wanted * total)
    removed = torch.cat([scores[name][~kept] for name, kept in mask.weights.items()])
    best = {name: kept & (scores[name] < removed.max()) for name, kept in mask.weights.items()}
    for name, kept in mask.weights.items():
        assert kept.any()
        assert best[name].sum() <= torch.tensor(0.01 * kept.numel()).ceil()


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.8, 0.9])
def test_channel_keeps_multiples_of_eight(subject: tuple[Network, Posterior, dict[str, Tensor]], wanted: float) -> None:
    """Coupled layers keep the same channels, a multiple of eight of them; what is gone is near what was asked for."""
    network, posterior, scores = subject
    mask = granularity("channel")(network, posterior, scores, wanted)
    group = coupled_tensors(network)
    kept_rows: dict[str, Tensor] = {}
    for name, kept in mask.weights.items():
        rows = kept.flatten(1).any(1)
        tensor = name.removesuffix(".weight")
        if group[tensor] == group[network.output]:
            assert rows.all()
            kept_rows[group[tensor]] = rows
            continue
        assert int(rows.sum()) % 8 == 0
        assert int(rows.sum()) >= 8
        assert (kept_rows.setdefault(group[tensor], rows) == rows).all()
    for name, kept in mask.rest.items():
        assert (kept == kept_rows[group[name.rpartition(".")[0]]]).all()
    assert abs(sparsity(mask.apply(posterior)) - wanted) < 0.07


def test_channel_levels_are_nested(subject: tuple[Network, Posterior, dict[str, Tensor]]) -> None:
    """With the same scores, a higher level removes what a lower one does, and more."""
    network, posterior, scores = subject
    masks = [granularity("channel")(network, posterior, scores, wanted) for wanted in (0.5, 0.8, 0.9)]
    for lower, higher in pairwise(masks):
        for name, kept in higher.weights.items():
            assert (kept <= lower.weights[name]).all()


def test_channel_stops_at_its_floor(subject: tuple[Network, Posterior, dict[str, Tensor]]) -> None:
    """No layer vanishes, even where more is asked for than can go."""
    network, posterior, scores = subject
    mask = granularity("channel")(network, posterior, scores, 0.9999)
    assert all(int(kept.flatten(1).any(1).sum()) >= 8 for kept in mask.weights.values())


@pytest.mark.parametrize("name", GRANULARITIES)
def test_pruned_means_exactly_zero(subject: tuple[Network, Posterior, dict[str, Tensor]], name: str) -> None:
    """Mean and scale, so that a pruned weight draws zero; a scale of softplus(0) = 0.69 would fail here."""
    network, posterior, scores = subject
    mask = granularity(name)(network, posterior, scores, 0.8)
    masked = mask.apply(posterior)
    for weight_name, weight in masked.weights.items():
        gone = ~mask.weights[weight_name]
        assert (weight.mean[gone] == 0).all()
        assert (weight.scale[gone] == 0).all()
        assert (weight.draw(torch.Generator().manual_seed(0))[gone] == 0).all()
        assert (weight.scale[~gone] > 0).all()


def test_unknown_granularity_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="there is weight, channel"):
        granularity("layer")
