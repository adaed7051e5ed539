"""A plain network made Bayesian, refused by name where it cannot be, and put back at a posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.architectures import ARCHITECTURES, architecture
from training.bayesian.bayesianize import bayesian_layers, bayesianize, plain_parts, read_posterior, restore
from training.bayesian.estimators import create_approximation, flipout, lrt, reparam
from training.bayesian.layers import BayesianConvolution, BayesianLinear, Draw
from training.errors import ConversionError
from training.recipe import Recipe


def bayesian(plain: nn.Module, initial_scale: float = 0.1) -> nn.Module:
    return bayesianize(plain, reparam.draw, prior_scale=1.0, initial_scale=initial_scale)


def small(channels: int = 3, classes: int = 5, *, bias: bool = True, norm: bool = True) -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 4, 3, bias=bias), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def test_every_convolution_and_linear_layer_is_converted() -> None:
    module = bayesian(small())
    kinds = {path: type(layer) for path, layer in bayesian_layers(module).items()}
    assert kinds == {"0.0": BayesianConvolution, "3": BayesianLinear}
    assert not any(isinstance(child, nn.Conv2d | nn.Linear) for child in module.modules())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_posterior_has_the_names_of_the_plain_network(name: str) -> None:
    plain = architecture(name, 3, 10).state_dict()
    posterior = read_posterior(bayesian(architecture(name, 3, 10)))
    assert posterior.weights.keys() | posterior.rest.keys() == plain.keys()
    assert set(posterior.weights) == {path for path, tensor in plain.items() if tensor.dim() in (2, 4)}
    assert all(torch.equal(tensor, plain[path]) for path, tensor in posterior.mean().items())


def test_without_noise_the_network_computes_what_it_did() -> None:
    plain = small().eval()
    x = torch.randn(6, 3, 8, 8)
    expected = plain(x)
    torch.testing.assert_close(bayesian(plain, initial_scale=1e-12)(x), expected)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Embedding(3, 2), "body.0: cannot make a Embedding Bayesian"),
        (nn.ConvTranspose2d(2, 2, 3), "body.0: cannot make a ConvTranspose2d Bayesian"),
        (nn.PReLU(), "body.0: cannot make a PReLU Bayesian"),
        (nn.MultiheadAttention(4, 2), "body.0: cannot make a MultiheadAttention Bayesian"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(layer: nn.Module, message: str) -> None:
    module = nn.Module()
    module.body = nn.Sequential(layer)
    with pytest.raises(ConversionError, match=message):
        bayesian(module)


def test_a_parameter_of_the_networks_own_is_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    module.register_parameter("temperature", nn.Parameter(torch.ones(1)))
    with pytest.raises(ConversionError, match="the network: cannot make a Sequential Bayesian"):
        bayesian(module)


def test_weights_tied_between_layers_are_refused_by_name() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    with pytest.raises(ConversionError, match=r"1\.weight: .* two places"):
        bayesian(nn.Sequential(first, second))


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv2d(1, 2, 3)])
def test_a_bare_layer_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ConversionError, match="single layer"):
        bayesian(layer)


def test_restore_puts_another_network_at_the_posterior() -> None:
    torch.manual_seed(0)
    module = bayesian(small())
    module(torch.randn(8, 3, 8, 8))  # so that the normalisation has seen something
    module[3].keep(torch.arange(5)[:, None].expand(5, 4) != 1)
    posterior = read_posterior(module)
    other = bayesian(small(), initial_scale=0.7)
    restore(other, posterior)
    found = read_posterior(other)
    for name, weight in posterior.weights.items():
        assert torch.equal(found.weights[name].mean, weight.mean)
        torch.testing.assert_close(found.weights[name].scale, weight.scale, rtol=1e-6, atol=0)
    assert all(torch.equal(found.rest[name], tensor) for name, tensor in posterior.rest.items())
    assert (found.weights["3.weight"].scale[1] == 0).all()


@pytest.mark.parametrize("draw", [reparam.draw, flipout.draw, lrt.draw])
@pytest.mark.parametrize("kind", [{"groups": 2}, {"dilation": 2}, {"groups": 4, "stride": 2, "padding": 1}])
def test_grouped_and_dilated_convolutions_are_converted(draw: Draw, kind: dict[str, Any]) -> None:
    plain = nn.Sequential(nn.Conv2d(4, 8, 3, **kind), nn.ReLU())
    x = torch.randn(2, 4, 9, 9)
    expected = plain(x)
    without_noise = bayesianize(plain, draw, prior_scale=1.0, initial_scale=1e-12)
    torch.testing.assert_close(without_noise(x), expected)


def test_a_network_of_someone_else_is_converted_with_no_more_than_a_prior() -> None:
    module = bayesianize(small(), flipout.draw, prior_scale=0.5)
    assert {layer.prior_scale for layer in bayesian_layers(module).values()} == {0.5}
    x = torch.randn(2, 3, 8, 8)
    assert not torch.equal(module(x), module(x))


def test_a_posterior_does_not_change_with_its_network() -> None:
    module = bayesian(small())
    posterior = read_posterior(module)
    before = posterior.mean()["3.weight"].clone(), posterior.rest["0.1.weight"].clone()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(9.0)
    assert torch.equal(posterior.mean()["3.weight"], before[0])
    assert torch.equal(posterior.rest["0.1.weight"], before[1])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: small(channels=1), id="other channels"),
        pytest.param(lambda: small(classes=7), id="other classes"),
        pytest.param(lambda: small(bias=False), id="no bias"),
        pytest.param(lambda: small(norm=False), id="no normalisation"),
        pytest.param(lambda: nn.Sequential(small(), nn.Linear(5, 5)), id="other names"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_posterior_of_another_architecture_is_refused(other: Callable[[], nn.Module], turned: bool) -> None:
    here, there = (small, other) if turned else (other, small)
    with pytest.raises(ConversionError, match="of another architecture"):
        restore(bayesian(here()), read_posterior(bayesian(there())))


class Twice(nn.Module):
    """A network that calls its layer twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first = self.second = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_a_layer_in_two_places_stays_one() -> None:
    torch.manual_seed(0)
    plain, x = Twice(nn.Linear(4, 4)), torch.randn(3, 4)
    expected = plain(x)
    module = bayesian(plain, initial_scale=1e-12)
    assert module.first is module.second
    torch.testing.assert_close(module(x), expected)
    posterior = read_posterior(module)
    assert (list(posterior.weights), list(posterior.rest)) == (["first.weight"], ["first.bias"])
    fresh = Twice(nn.Linear(4, 4))
    torch.testing.assert_close(functional_call(fresh, posterior.mean(), (x,), tie_weights=False), expected)
    other = bayesian(fresh)
    restore(other, posterior)
    assert torch.equal(read_posterior(other).weights["first.weight"].mean, posterior.weights["first.weight"].mean)


def test_a_block_in_two_places_stays_one() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    module = bayesian(nn.Sequential(block, nn.ReLU(), block))
    assert list(bayesian_layers(module)) == ["0.0"]
    assert read_posterior(module).rest.keys() == {"0.0.bias", *(f"0.1.{name}" for name in block[1].state_dict())}


def test_a_layer_in_two_places_is_one_weight_of_the_plain_network() -> None:
    weights, rest = plain_parts(Twice(nn.Linear(4, 4)))
    assert (list(weights), list(rest)) == (["first.weight"], ["first.bias"])
    approximation = create_approximation(
        Twice(nn.Linear(4, 4)), Recipe(estimator="none", warmup_epochs=0.0), train_size=10
    )
    approximation.restore(approximation.posterior())
