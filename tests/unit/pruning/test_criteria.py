"""What weights are worth."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.criteria import CRITERIA, criterion, free_energy
from pruning.criteria.inputs import Activations, Inputs
from pruning.errors import NotFoundError, PosteriorError
from training.bayesian.posterior import GaussianWeight, Posterior

NOISE = torch.Generator().manual_seed(0)
INPUTS = Inputs(1.0, NOISE)
# Of a layer that reads two channels, of which the second is always zero.
READ = Activations(torch.tensor([2.0, 0.0]), torch.tensor([6.0, 0.0]))
means, scales = st.floats(-3, 3), st.floats(0.01, 0.9)


def one(mean: float, scale: float) -> GaussianWeight:
    return GaussianWeight(torch.tensor([mean]), torch.tensor([scale]))


def posterior(mean: list[float], scale: list[float]) -> Posterior:
    return Posterior({"0.weight": GaussianWeight(torch.tensor(mean), torch.tensor(scale))}, {})


def matrix(mean: list[float], scale: list[float]) -> Posterior:
    """The posterior of a layer with one output."""
    return Posterior({"0.weight": GaussianWeight(torch.tensor([mean]), torch.tensor([scale]))}, {})


def test_activation_is_the_energy_that_a_weight_adds_to_its_layers_output() -> None:
    """Linear layers and convolutions alike."""
    mean = torch.tensor([[1.0, 5.0], [2.0, 0.0]])
    inputs = Inputs(1.0, NOISE, READ)
    expected = torch.tensor([[2.0, 0.0], [8.0, 0.0]])
    assert torch.allclose(CRITERIA["activation"].score(GaussianWeight(mean, mean), inputs), expected)
    kernels = mean[:, :, None, None].expand(2, 2, 3, 3)
    found = CRITERIA["activation"].score(GaussianWeight(kernels, kernels), inputs)
    assert torch.allclose(found.sum((2, 3)), 9 * expected)


def test_gate_fisher_of_a_channel_is_that_of_its_readers() -> None:
    """However the weights share it; nothing of a channel that has no say."""
    mean = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    found = CRITERIA["gate_fisher"].score(GaussianWeight(mean, mean), Inputs(1.0, NOISE, READ))
    assert torch.allclose(found.sum((0, 2, 3)), READ.gate_fisher)


def test_weights_in_groups_are_worth_what_their_own_inputs_are() -> None:
    """Each group's rows read that group's channels; the Fisher information of a channel is shared by its readers."""
    mean = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1)
    read = Activations(torch.tensor([2.0, 10.0]), torch.tensor([5.0, 25.0]))
    weight, inputs = GaussianWeight(mean, mean), Inputs(1.0, NOISE, read)
    assert CRITERIA["activation"].score(weight, inputs).flatten().tolist() == [2.0, 8.0, 90.0, 160.0]
    assert CRITERIA["gate_fisher"].score(weight, inputs).flatten().tolist() == pytest.approx([1, 4, 9, 16])


def test_snr_and_magnitude() -> None:
    weight = GaussianWeight(torch.tensor([-3.0, 0.0, 2.0]), torch.tensor([1.5, 1.0, 0.5]))
    assert CRITERIA["snr"].score(weight, INPUTS).tolist() == [4.0, 0.0, 16.0]
    assert CRITERIA["magnitude"].score(weight, INPUTS).tolist() == [9.0, 0.0, 4.0]


def test_random_is_of_its_generator() -> None:
    """The same from the same generator; the mean of many is one half."""
    weight = GaussianWeight(torch.zeros(10_000), torch.ones(10_000))
    once, again = (CRITERIA["random"].score(weight, Inputs(1.0, torch.Generator().manual_seed(3))) for _ in range(2))
    assert (once == again).all()
    assert abs(float(once.mean()) - 0.5) < 0.02


@given(means, scales)
def test_free_energy_is_the_limit_of_reducing_the_prior_to_a_point(mean: float, scale: float) -> None:
    """The closed form of a narrower prior, ever narrower, comes to what the score says."""
    expected = float(free_energy.free_energy_change(one(mean, scale), 1.0, 1e-5))
    assert float(free_energy.score(one(mean, scale), INPUTS)) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@given(means, scales, st.floats(0.05, 0.99))
def test_free_energy_of_a_narrower_prior_is_that_of_the_integral(mean: float, scale: float, reduced: float) -> None:
    """−ln ∫ q(w) p̃(w) / p(w) dw, by quadrature."""
    w = torch.linspace(-abs(mean) - 12 * scale, abs(mean) + 12 * scale, 100_001, dtype=torch.float64)
    log_q = -0.5 * ((w - mean) / scale) ** 2 - math.log(scale * math.sqrt(2 * math.pi))
    log_ratio = -0.5 * (w / reduced) ** 2 - math.log(reduced) + 0.5 * w**2
    integral = torch.trapezoid((log_q + log_ratio).exp(), w)
    expected = -math.log(float(integral)) if integral > 1e-280 else None
    found = float(free_energy.free_energy_change(one(mean, scale), 1.0, reduced))
    if expected is not None:
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@given(means, scales)
def test_free_energy_removes_where_the_squared_ratio_is_below_its_own_threshold(mean: float, scale: float) -> None:
    below = (mean / scale) ** 2 <= math.log(1.0 / scale**2)
    score = float(free_energy.score(one(mean, scale), INPUTS))
    assert (score <= 0) == below or abs(score) < 1e-4


def test_redundant_share_is_the_share_below_zero() -> None:
    weights = [GaussianWeight(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.5, 0.9, 0.1, 0.9]))]
    assert free_energy.redundant_share(weights, 1.0) == 0.5


@pytest.mark.parametrize("name", CRITERIA)
def test_what_is_pruned_already_has_no_worth(name: str) -> None:
    """It goes first again, whatever is asked: minus infinity under each criterion."""
    known = {"0.weight": Activations(torch.ones(3), torch.ones(3))}
    found = criterion(name).scores(matrix([0.0, 0.2, -1.0], [0.0, 0.9, 0.9]), 1.0, NOISE, known)
    (scores,) = found.of_weights["0.weight"]
    assert scores[0] == -torch.inf
    assert scores[1:].isfinite().all()


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    for bad in (posterior([value], [1.0]), posterior([1.0], [value])):
        with pytest.raises(PosteriorError, match=r"0\.weight holds values that are not finite"):
            criterion(name).scores(bad, 1.0, NOISE)


def test_a_weight_without_scale_is_refused_where_the_scale_decides() -> None:
    plain = posterior([1.0, 2.0], [0.0, 0.5])
    for name in ("snr", "free_energy"):
        with pytest.raises(PosteriorError, match=f"a scale of zero, which {name} cannot rank"):
            criterion(name).scores(plain, 1.0, NOISE)
    assert criterion("magnitude").scores(plain, 1.0, NOISE).of_weights["0.weight"].tolist() == [1.0, 4.0]


def test_unknown_criterion_lists_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="there is snr, free_energy, activation, gate_fisher, magnitude, random"):
        criterion("luck")
