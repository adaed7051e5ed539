"""Estimators against the closed-form moments of their outputs, and against each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.bayesian.estimators import DRAWS, ESTIMATORS, create_approximation
from training.bayesian.layers import BayesianConvolution, BayesianLayer, BayesianLinear
from training.errors import RecipeError
from training.recipe import Recipe

NUM_DRAWS = 4_000


def linear_layer(name: str) -> BayesianLayer:
    torch.manual_seed(5)
    return _with_scales(BayesianLinear(nn.Linear(4, 3), DRAWS[name], 1.0, 0.5))


def convolution(name: str) -> BayesianLayer:
    torch.manual_seed(5)
    return _with_scales(BayesianConvolution(nn.Conv2d(2, 3, 3, stride=2, padding=1), DRAWS[name], 1.0, 0.5))


def _with_scales(layer: BayesianLayer) -> BayesianLayer:
    layer.log_scale.data.uniform_(-2, 0)
    return layer


@torch.no_grad()
def outputs(layer: BayesianLayer, x: Tensor, draws: int = NUM_DRAWS) -> Tensor:
    """[draws, N, …]"""
    torch.manual_seed(7)
    return torch.stack([layer(x) for _ in range(draws)])


@pytest.mark.parametrize("name", DRAWS)
def test_linear_outputs_have_their_closed_form_moments(name: str) -> None:
    layer, x = linear_layer(name), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    _check_moments(
        outputs(layer, x),
        F.linear(x, layer.masked_mean(), layer.bias),
        F.linear(x.square(), layer.masked_scale().square()),
    )


@pytest.mark.parametrize("name", DRAWS)
def test_convolution_outputs_have_their_closed_form_moments(name: str) -> None:
    layer, x = convolution(name), torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    _check_moments(
        outputs(layer, x),
        F.conv2d(x, layer.masked_mean(), layer.bias, 2, 1),
        F.conv2d(x.square(), layer.masked_scale().square(), None, 2, 1),
    )


def _check_moments(drawn: Tensor, mean: Tensor, var: Tensor) -> None:
    """Within five standard errors, of which the mean's is √(var/S) and the variance's var·√(2/S)."""
    assert drawn.shape[1:] == mean.shape
    assert ((drawn.mean(0) - mean).abs() < 5 * (var / NUM_DRAWS).sqrt()).all()
    assert ((drawn.var(0) / var - 1).abs() < 5 * (2 / NUM_DRAWS) ** 0.5).all()


@pytest.mark.parametrize("build", [linear_layer, convolution])
def test_flipout_and_reparam_have_equal_marginals(build: type) -> None:
    x = torch.randn(3, 2, 5, 5) if build is convolution else torch.randn(5, 4)
    plain, flipped = (outputs(build(name), x) for name in ("reparam", "flipout"))
    error = (2 * plain.var(0) / NUM_DRAWS).sqrt()
    assert ((plain.mean(0) - flipped.mean(0)).abs() < 5 * error).all()
    assert ((plain.var(0) / flipped.var(0)).log().abs() < 5 * (4 / NUM_DRAWS) ** 0.5).all()


def test_reparam_gives_equal_examples_equal_outputs() -> None:
    twice = torch.randn(1, 4).expand(2, 4)
    drawn = outputs(linear_layer("reparam"), twice, 20)
    torch.testing.assert_close(drawn[:, 0], drawn[:, 1])


@pytest.mark.parametrize("build", [linear_layer, convolution])
@pytest.mark.parametrize("name", ["flipout", "lrt"])
def test_equal_examples_are_decorrelated(build: type, name: str) -> None:
    x = torch.randn(1, 2, 5, 5).expand(2, 2, 5, 5) if build is convolution else torch.randn(1, 4).expand(2, 4)
    drawn = outputs(build(name), x)
    first, second = ((each - each.mean(0)) / each.std(0) for each in drawn.unbind(1))
    assert ((first * second).mean(0).abs() < 5 / NUM_DRAWS**0.5).all()


@torch.no_grad()
def test_flipout_has_signs_of_its_own_for_inputs_and_for_outputs() -> None:
    """With signs of one side only, either the sizes or the directions of examples' perturbations would be tied."""
    layer = linear_layer("flipout")
    layer.mean.zero_()
    layer.bias = None
    first, second = outputs(layer, torch.randn(1, 4).expand(2, 4)).unbind(1)
    assert ((first.abs() - second.abs()).abs() > 1e-4).float().mean() > 0.5
    one_input = BayesianLinear(nn.Linear(1, 3, bias=False), DRAWS["flipout"], 1.0, 0.5)
    one_input.mean.zero_()
    first, second = outputs(one_input, torch.ones(2, 1)).unbind(1)
    agreement = (first * second).sign()
    correlations = (agreement.T @ agreement / NUM_DRAWS) - torch.eye(3)
    assert correlations.abs().max() < 5 / NUM_DRAWS**0.5


@pytest.mark.parametrize("estimator", ["flipout", "lrt"])
def test_flipout_and_lrt_have_less_gradient_variance(estimator: str) -> None:
    torch.manual_seed(2)
    x, target = torch.randn(64, 4), torch.randn(64, 3)

    def variance(name: str) -> float:
        layer = linear_layer(name)
        torch.manual_seed(9)
        gradients = [torch.autograd.grad(F.mse_loss(layer(x), target), layer.mean)[0] for _ in range(300)]
        return float(torch.stack(gradients).var(0).sum())

    assert variance(estimator) < 0.25 * variance("reparam")


@pytest.mark.parametrize("estimator", ["flipout", "lrt"])
def test_all_have_the_expected_gradients_of_reparam(estimator: str) -> None:
    torch.manual_seed(2)
    x, target = torch.randn(16, 4), torch.randn(16, 3)

    def gradients(name: str) -> Tensor:
        layer = linear_layer(name)
        torch.manual_seed(9)
        both = [layer.mean, layer.log_scale]
        return torch.stack(
            [torch.stack(torch.autograd.grad(F.mse_loss(layer(x), target), both)) for _ in range(NUM_DRAWS // 2)]
        )

    plain, flipped = gradients("reparam"), gradients(estimator)
    error = ((plain.var(0) + flipped.var(0)) / len(plain)).sqrt()
    assert ((plain.mean(0) - flipped.mean(0)).abs() < 5 * error).all()


def test_an_unknown_estimator_is_told_what_there_is() -> None:
    with pytest.raises(RecipeError, match="unknown estimator 'laplace'") as refused:
        create_approximation(nn.Sequential(nn.Linear(2, 2)), Recipe(estimator="laplace"), 10)
    assert all(name in str(refused.value) for name in ESTIMATORS)
