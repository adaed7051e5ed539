"""All estimators against the exact joint distribution of a layer's outputs, for every shape that torch's layers take.

Outputs are linear in the noise of the weights, y = m + J ε, so their exact mean is m and their covariance J Jᵀ, with J
by automatic differentiation of the layer under a given weight. `reparam` and `flipout` draw from that distribution for
each example, `lrt` from its restriction to one channel and one position. `flipout` and `lrt` make examples independent.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.bayesian.bayesianize import bayesianize
from training.bayesian.estimators import DRAWS
from training.bayesian.layers import BayesianLayer

NUM_DRAWS = 1_000
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SLOW = [HealthCheck.too_slow]
few = settings(max_examples=7, deadline=None, suppress_health_check=SLOW, derandomize=True)
fewer = settings(few, max_examples=5)


@st.composite
def linear_layers(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """A linear layer, and an input of one example, of a batch, and of a batch with one or two axes of positions."""
    torch.manual_seed(draw(st.integers(0, 99)))
    channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    before = draw(st.sampled_from([(), (2,), (2, 3), (1, 4), (2, 2, 2)]))
    layer = nn.Linear(channels, outputs, bias=draw(st.booleans()))
    return layer, torch.randn(*before, channels)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """A convolution over one to three axes with every option, and a batch or a single example in either format."""
    torch.manual_seed(draw(st.integers(0, 99)))
    axes, groups = draw(st.sampled_from([1, 2, 2, 3])), draw(st.sampled_from([1, 2]))
    options: dict[str, Any] = {
        "groups": groups,
        "stride": draw(st.sampled_from([1, 2])),
        "dilation": draw(st.sampled_from([1, 2])),
        "padding": draw(st.sampled_from([0, 1])),
        "padding_mode": draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        "bias": draw(st.booleans()),
    }
    if options["stride"] == 1 and draw(st.booleans()):
        options["padding"] = "same"
    layer = CONVOLUTIONS[axes](2 * groups, groups, 2, **options)
    batch = draw(st.sampled_from([(), (2,)]))
    x = torch.randn(*batch, 2 * groups, *((4,) if axes == 1 else (3,) * axes))
    if x.dim() == 4 and draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    return layer, x


def converted(plain: nn.Module, estimator: str) -> tuple[nn.Module, BayesianLayer]:
    module = bayesianize(nn.Sequential(plain), DRAWS[estimator], prior_scale=1.0, initial_scale=0.5)
    layer = module[0]
    assert isinstance(layer, BayesianLayer)
    with torch.no_grad():
        layer.log_scale.copy_(torch.linspace(-1.5, 0.3, layer.log_scale.numel()).view_as(layer.log_scale))
    return module, layer


def exact(layer: BayesianLayer, x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the outputs, and their derivatives by the noise of every weight [outputs, weights]."""

    def outputs(noise: Tensor) -> Tensor:
        return layer.apply_weight(x, layer.mean + layer.log_scale.exp() * noise, layer.bias)

    zero = torch.zeros_like(layer.mean)
    mean = outputs(zero).detach()
    return mean, torch.autograd.functional.jacobian(outputs, zero).reshape(mean.numel(), -1)


def labels(y: Tensor, channel_dim: int) -> tuple[Tensor, Tensor]:
    """The example of each output, and its channel and position together, numbered and flat."""
    batched = y.dim() > -channel_dim
    example = torch.zeros(y.shape, dtype=torch.long)
    if batched:
        example += torch.arange(len(y)).view(-1, *(1,) * (y.dim() - 1))
    within = torch.arange(math.prod(y.shape[1:]) if batched else y.numel())
    return example.flatten(), (within.repeat(len(y)) if batched else within)


@torch.no_grad()
def check_distribution(plain: nn.Module, x: Tensor, estimator: str) -> None:
    """Within six standard errors: √(var/S) of a mean, √((var·var + cov²)/S) of a covariance of normal outputs."""
    module, layer = converted(plain, estimator)
    with torch.enable_grad():
        mean, by_noise = exact(layer, x)
    torch.manual_seed(1)
    y = torch.stack([module(x).flatten() for _ in range(NUM_DRAWS)])
    cov = by_noise @ by_noise.T
    example, place = labels(mean, layer.channel_dim)
    if estimator != "reparam":
        cov = cov * (example[:, None] == example)
    if estimator == "lrt":
        cov = cov * (place[:, None] == place)
    var = cov.diagonal()
    centred = y - mean.flatten()
    assert (centred.mean(0).abs() <= 6 * (var / NUM_DRAWS).sqrt() + 1e-5).all()
    found = centred.T @ centred / NUM_DRAWS
    # Under signs, products of outputs of two examples have another fourth moment than normal ones: at most three times.
    error = ((3 * var[:, None] * var + cov.square()) / NUM_DRAWS).sqrt()
    assert ((found - cov).abs() <= 6 * error + 1e-5).all()


@few
@given(linear_layers())
@pytest.mark.parametrize("estimator", DRAWS)
def test_linear_layers_of_any_shape_have_the_exact_mean_and_covariance(
    estimator: str, case: tuple[nn.Module, Tensor]
) -> None:
    check_distribution(*case, estimator)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@fewer
@given(convolutions())
@pytest.mark.parametrize("estimator", DRAWS)
def test_convolutions_of_any_kind_have_the_exact_mean_and_covariance(
    estimator: str, case: tuple[nn.Module, Tensor]
) -> None:
    check_distribution(*case, estimator)


@few
@given(st.one_of(linear_layers(), convolutions()))
def test_the_divergence_is_that_of_reparam_for_every_estimator(case: tuple[nn.Module, Tensor]) -> None:
    plain, _ = case
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    found = []
    for estimator in DRAWS:
        plain.load_state_dict(state)
        found.append(converted(plain, estimator)[1].divergence().item())
    assert len(set(found)) == 1


@pytest.mark.parametrize("estimator", DRAWS)
def test_the_mean_over_equal_tokens_has_the_scale_of_one_but_under_lrt(estimator: str) -> None:
    """One weight for all tokens of an example; lrt loses this by √T, as its documentation says."""
    torch.manual_seed(0)
    module = bayesianize(nn.Sequential(nn.Linear(8, 1)), DRAWS[estimator], prior_scale=1.0, initial_scale=0.1)
    tokens = torch.ones(1, 16, 8)
    with torch.no_grad():
        means = torch.stack([module(tokens).mean() for _ in range(2_000)])
    expected = 0.1 * 8**0.5 / (4 if estimator == "lrt" else 1)
    assert float(means.std()) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("shape", [(0, 4), (0, 3, 4), (2, 0, 4)])
@pytest.mark.parametrize("estimator", DRAWS)
def test_empty_batches_pass_forward_and_backward(estimator: str, shape: tuple[int, ...]) -> None:
    linear = bayesianize(nn.Sequential(nn.Linear(4, 3)), DRAWS[estimator], prior_scale=1.0)
    output = linear(torch.zeros(shape))
    assert output.shape == (*shape[:-1], 3)
    output.sum().backward()
    convolution = bayesianize(nn.Sequential(nn.Conv2d(2, 3, 3)), DRAWS[estimator], prior_scale=1.0)
    output = convolution(torch.zeros(0, 2, 5, 5))
    assert output.shape == (0, 3, 3, 3)
    output.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("estimator", DRAWS)
def test_scales_under_autocast_are_those_without(estimator: str, dtype: torch.dtype) -> None:
    """With scales whose squares are zero in float16."""
    torch.manual_seed(0)
    module = bayesianize(
        nn.Sequential(nn.Linear(16, 1, bias=False)), DRAWS[estimator], prior_scale=1.0, initial_scale=1e-4
    )
    module[0].mean.data.zero_()
    with torch.no_grad(), torch.autocast("cpu", dtype):
        y = torch.cat([module(torch.ones(1, 16)) for _ in range(2_000)])
    assert y.dtype == dtype
    assert float(y.float().std()) == pytest.approx(4e-4, rel=0.1)
