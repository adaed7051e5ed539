"""The loss: its formula, its warm-up, and the divergence counted once on any number of ranks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.bayesian.bayesianize import bayesian_layers, bayesianize
from training.bayesian.layers import BayesianLayer
from training.bayesian.objective import data_term, divergence, negative_elbo
from training.distributed.sampler import BatchSampler
from training.errors import ConversionError
from training.recipe import Recipe

TRAIN = 40
BETA = 0.3


def at_the_mean(layer: BayesianLayer, x: Tensor) -> Tensor:
    """An estimator without noise, so that expectations are exact."""
    return layer.apply_weight(x, layer.masked_mean(), layer.bias)


def network() -> nn.Module:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return bayesianize(plain, at_the_mean, prior_scale=0.5, initial_scale=0.2)


def loss_and_gradient(module: nn.Module, x: Tensor, y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    loss = negative_elbo(data_term(module(x), y), divergence(module), weight=BETA / TRAIN, share=share)
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@settings(deadline=None, max_examples=40)
@given(batch_size=st.integers(1, 12), world_size=st.integers(1, 5), seen=st.integers(0, TRAIN - 5))
def test_ranks_together_have_the_loss_and_gradient_of_one(batch_size: int, world_size: int, seen: int) -> None:
    """Also where the shares are uneven: the loop gives `share` as here."""
    torch.manual_seed(1)
    x, y = torch.randn(TRAIN, 5, dtype=torch.float64), torch.randint(0, 3, (TRAIN,))
    batches, module = BatchSampler(TRAIN, batch_size, world_size, seed=0), network()
    of_world = batches.world_batch(batches.permutation(0), seen)
    whole = loss_and_gradient(module, x[of_world], y[of_world], 1.0)
    parts = [batches.rank_batch(of_world, rank) for rank in range(world_size)]
    ranks = [loss_and_gradient(module, x[i], y[i], world_size * len(i) / len(of_world)) for i in parts]
    for together, each in zip(whole, zip(*ranks, strict=True), strict=True):
        torch.testing.assert_close(torch.stack(each).mean(0), together)


def test_an_epoch_of_losses_counts_the_divergence_beta_times() -> None:
    """Σ over examples of β·KL/N is β·KL: the bound's own weight."""
    kl = torch.tensor(123.0)
    per_example = negative_elbo(torch.tensor(0.0), kl, weight=BETA / TRAIN)
    assert float(per_example * TRAIN) == pytest.approx(BETA * 123.0)


def test_data_term_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.25, 0.75]]).log()
    assert data_term(logits, torch.tensor([0, 0])).item() == pytest.approx(-(math.log(0.9) + math.log(0.25)) / 2)


def test_a_plain_network_has_no_divergence() -> None:
    with pytest.raises(ConversionError, match="no Bayesian layer: convert it by bayesianize"):
        divergence(nn.Sequential(nn.Linear(2, 2)))


def test_divergence_is_the_sum_over_layers() -> None:
    module = network()
    each = [layer.divergence().item() for layer in bayesian_layers(module).values()]
    assert len(each) == 2
    assert divergence(module).item() == pytest.approx(sum(each))


@given(st.floats(0, 1), st.floats(0.1, 50), st.floats(0, 1))
def test_beta_rises_linearly_from_zero(beta: float, warmup: float, part: float) -> None:
    recipe = Recipe(beta=beta, warmup_epochs=warmup)
    assert recipe.beta_at(0) == 0
    assert recipe.beta_at(part * warmup) == pytest.approx(part * beta, abs=1e-12)
    assert recipe.beta_at(warmup) == recipe.beta_at(warmup + 100) == beta


def test_without_a_warm_up_beta_holds_from_the_start() -> None:
    assert Recipe(beta=0.4, warmup_epochs=0).beta_at(0) == 0.4
