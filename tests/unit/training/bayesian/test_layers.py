"""The divergence against Monte Carlo and torch's own; a pruned weight is nothing at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from training.bayesian.estimators import DRAWS, reparam
from training.bayesian.layers import BayesianConvolution, BayesianLayer, BayesianLinear
from training.bayesian.posterior import GaussianWeight
from training.errors import ConversionError

PRIOR_SCALE = 0.7
# `lrt` takes the square root of a variance, which has to stay above zero.
ZERO = 1e-13


def some_linear(estimator: str = "reparam", *, bias: bool = False) -> BayesianLinear:
    """A linear layer [4, 3] in float64 with means and scales of several sizes."""
    torch.manual_seed(1)
    layer = BayesianLinear(nn.Linear(3, 4, bias=bias), DRAWS[estimator], PRIOR_SCALE, 0.1).double()
    with torch.no_grad():
        layer.mean.normal_()
        layer.log_scale.uniform_(-3, 0.5)
    return layer


def some_mask(layer: BayesianLayer) -> Tensor:
    """Prunes every third weight of the layer, and says which are left."""
    left = torch.arange(layer.mean.numel()).reshape(layer.mean.shape) % 3 != 0
    layer.keep(left)
    return left


def posterior_and_prior(layer: BayesianLayer, left: Tensor | slice = slice(None)) -> tuple[Normal, Normal]:
    mean, scale = layer.mean[left], layer.log_scale[left].exp()
    return Normal(mean, scale), Normal(torch.zeros_like(mean), PRIOR_SCALE)


def test_divergence_is_what_monte_carlo_estimates() -> None:
    layer = some_linear()
    posterior, prior = posterior_and_prior(layer)
    draws = posterior.sample((200_000,))
    each = (posterior.log_prob(draws) - prior.log_prob(draws)).sum((1, 2)).detach()
    standard_error = float(each.std() / len(each) ** 0.5)
    assert standard_error < 0.02
    assert abs(layer.divergence().item() - each.mean().item()) < 4 * standard_error


def test_divergence_and_its_gradient_are_those_of_torch() -> None:
    layer = some_linear()
    reference = kl_divergence(*posterior_and_prior(layer)).sum()
    torch.testing.assert_close(layer.divergence(), reference)
    ours = torch.autograd.grad(layer.divergence(), [layer.mean, layer.log_scale])
    torch.testing.assert_close(ours, torch.autograd.grad(reference, [layer.mean, layer.log_scale]))


def test_divergence_is_zero_at_the_prior_only() -> None:
    layer = some_linear()
    with torch.no_grad():
        layer.mean.zero_()
        layer.log_scale.fill_(torch.tensor(PRIOR_SCALE).log())
    assert layer.divergence().item() == pytest.approx(0, abs=1e-6)
    layer.mean.data[0, 0] = 0.1
    assert layer.divergence().item() > 1e-3


def test_a_pruned_weight_has_mean_and_scale_exactly_zero() -> None:
    layer = some_linear()
    left = some_mask(layer)
    weight = layer.posterior()
    for tensor in (weight.mean, weight.scale, layer.masked_mean(), layer.masked_scale()):
        assert (tensor[~left] == 0).all()
        assert (tensor[left] != 0).all()


@pytest.mark.parametrize("estimator", DRAWS)
def test_a_pruned_weight_draws_exactly_zero(estimator: str) -> None:
    layer = some_linear(estimator)
    left = some_mask(layer)
    # One-hot examples read the drawn weights off: row n of the output is column n of the weight.
    draws = torch.stack([layer(torch.eye(3, dtype=torch.float64)).T for _ in range(50)])
    assert (draws[:, ~left].abs() < ZERO).all()
    assert (draws[:, left].std(0) > 0.01).all()


@pytest.mark.parametrize("estimator", DRAWS)
def test_a_pruned_filter_gives_exactly_zero(estimator: str) -> None:
    layer = BayesianConvolution(nn.Conv2d(2, 3, 3, bias=False), DRAWS[estimator], 1.0, 0.5)
    layer.keep(torch.tensor([True, False, True])[:, None, None, None].expand_as(layer.mean))
    output = layer(torch.randn(4, 2, 6, 6))
    assert (output[:, 1].abs() < ZERO).all()
    assert (output[:, [0, 2]] != 0).all()


def test_a_pruned_weight_has_no_part_in_the_divergence() -> None:
    layer = some_linear()
    left = some_mask(layer)
    before = layer.divergence()
    torch.testing.assert_close(before, kl_divergence(*posterior_and_prior(layer, left)).sum())
    with torch.no_grad():
        layer.mean[~left] = 9.0
        layer.log_scale[~left] = 3.0
    torch.testing.assert_close(layer.divergence(), before)


@pytest.mark.parametrize("estimator", DRAWS)
def test_a_pruned_weight_gets_no_gradient(estimator: str) -> None:
    layer = some_linear(estimator)
    left = some_mask(layer)
    (layer(torch.randn(5, 3, dtype=torch.float64)).square().sum() + layer.divergence()).backward()
    for parameter in (layer.mean, layer.log_scale):
        assert parameter.grad is not None
        assert (parameter.grad[~left] == 0).all()
        assert (parameter.grad[left] != 0).all()


def test_restore_gives_the_posterior_back() -> None:
    mean = torch.tensor([[1.5, 0.0, -2.0], [0.0, 3.0, 0.0]])
    scale = torch.tensor([[0.1, 0.2, 1.3], [0.0, 1e-6, 0.0]])
    layer = BayesianLinear(nn.Linear(3, 2), reparam.draw, 1.0, 0.5)
    layer.restore(GaussianWeight(mean, scale))
    assert layer.mask is not None
    assert torch.equal(layer.mask, torch.tensor([[1.0, 1, 1], [0, 1, 0]]))
    assert torch.equal(layer.posterior().mean, mean)
    torch.testing.assert_close(layer.posterior().scale, scale, rtol=1e-6, atol=0)
    assert layer.divergence().isfinite()


def test_restore_unmasks_what_the_posterior_has() -> None:
    layer = BayesianLinear(nn.Linear(3, 2), reparam.draw, 1.0, 0.5)
    layer.keep(torch.zeros(2, 3, dtype=torch.bool))
    layer.restore(GaussianWeight(torch.ones(2, 3), torch.ones(2, 3)))
    assert layer.mask is None
    assert (layer.posterior().scale > 0).all()


def test_restore_refuses_a_mean_without_a_scale() -> None:
    """Beside weights that have one: the divergence of such a weight is infinite."""
    layer = BayesianLinear(nn.Linear(3, 2), reparam.draw, 1.0, 0.5)
    with pytest.raises(ConversionError, match="without a scale"):
        layer.restore(GaussianWeight(torch.ones(2, 3), torch.tensor([[0.0, 1.0, 1.0]]).expand(2, 3)))


def test_a_layer_without_scales_is_the_plain_one_with_weight_decay() -> None:
    """Every call is the same; the divergence is that of its mean alone, and zeros of the mean stay pruned."""
    layer = BayesianLinear(nn.Linear(3, 2), reparam.draw, 0.5, 0.5)
    mean = torch.tensor([[1.0, 0.0, -2.0], [0.5, 3.0, 0.0]])
    layer.restore(GaussianWeight(mean, torch.zeros(2, 3)))
    x = torch.randn(4, 3)
    assert torch.equal(layer(x), nn.functional.linear(x, mean, layer.bias))
    assert float(layer.divergence().detach()) == pytest.approx(float(mean.square().sum()) / (2 * 0.5**2))
    layer.divergence().backward()
    assert layer.log_scale.grad is None
    assert layer.mean.grad is not None
    assert torch.allclose(layer.mean.grad, mean / 0.5**2)
    assert layer.posterior().deterministic
    layer.restore(GaussianWeight(mean, torch.where(mean == 0, 0.0, 0.3)))
    assert not layer.deterministic
    assert not torch.equal(layer(x), layer(x))


def test_a_layer_starts_at_the_plain_weights_and_keeps_the_bias() -> None:
    plain = nn.Linear(3, 4)
    layer = BayesianLinear(plain, reparam.draw, 1.0, 0.25)
    assert torch.equal(layer.posterior().mean, plain.weight)
    torch.testing.assert_close(layer.posterior().scale, torch.full((4, 3), 0.25))
    assert layer.bias is not None
    assert torch.equal(layer.bias, plain.bias)


def test_a_convolution_is_the_plain_one_at_its_mean() -> None:
    plain = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    layer = BayesianConvolution(
        plain, lambda layer, x: layer.apply_weight(x, layer.masked_mean(), layer.bias), 1.0, 0.5
    )
    x = torch.randn(4, 2, 7, 7)
    torch.testing.assert_close(layer(x), plain(x))
