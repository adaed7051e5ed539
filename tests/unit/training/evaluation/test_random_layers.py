"""The fewest random layers: those that carry the gain, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Dataset
from training.evaluation.random_layers import Worth, deterministic_prefix
from training.recipe import Recipe
from training.trainer.initialization import fresh_network


@pytest.mark.parametrize(
    ("gain", "auroc", "enough"),
    [(0.010, 0.90, True), (0.008, 0.88, True), (0.0079, 0.90, False), (0.010, 0.879, False), (0.0, None, False)],
)
def test_what_suffices(gain: float, auroc: float | None, enough: bool) -> None:
    assert Worth(gain, auroc).suffices(Worth(0.010, 0.90)) == enough


def test_where_draws_gain_nothing_no_layer_has_to_keep_a_share_of_it() -> None:
    """Nor to lose less: a little more of a loss is as good."""
    assert Worth(-0.001, None).suffices(Worth(-0.002, None))
    assert not Worth(-0.003, None).suffices(Worth(-0.002, None))


def overconfident(dataset: Dataset, scales: list[float]) -> tuple[nn.Module, Posterior]:
    """A linear network of the digits in three layers, with these scales of its weights."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    x, labels = dataset.pixels.normalise(dataset.train.pixels), dataset.train.labels
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(x), labels).backward()
        optimizer.step()
    state = {name: tensor.detach().clone() for name, tensor in plain.state_dict().items()}
    names = [name for name in state if name.endswith("weight")]
    weights = {
        name: GaussianWeight(state[name], torch.full_like(state[name], scale))
        for name, scale in zip(names, scales, strict=True)
    }
    return plain, Posterior(weights, {name: tensor for name, tensor in state.items() if name not in weights})


@pytest.mark.parametrize(
    ("scales", "last"), [([1e-6, 1e-6, 0.05], 1), ([1e-6, 0.05, 1e-6], 2), ([0.05, 1e-6, 1e-6], 3)]
)
def test_layers_before_the_first_that_matters_need_no_scales(digits: Dataset, scales: list[float], last: int) -> None:
    """All of the draws' effect is that of one layer: whatever follows it may stay, what precedes it goes."""
    plain, posterior = overconfident(digits, scales)
    found = deterministic_prefix(plain, posterior, digits, 0, quiet=True)
    assert len(found) == 3 - last
    assert found == list(posterior.weights)[: len(found)]


def test_the_choice_is_a_function_of_posterior_and_seed(digits: Dataset) -> None:
    recipe = Recipe(architecture="convnet")
    plain = fresh_network(recipe, digits)
    state = plain.state_dict()
    names = [name for name in state if state[name].dim() > 1]
    weights = {name: GaussianWeight(state[name], 0.1 * state[name].abs()) for name in names}
    posterior = Posterior(weights, {name: tensor for name, tensor in state.items() if name not in weights})
    few = replace(digits, out_of_distribution={"noise": digits.out_of_distribution["noise"][:50]})
    once, again = (deterministic_prefix(plain, posterior, few, 1, quiet=True) for _ in range(2))
    assert once == again
    assert len(once) < len(names)
