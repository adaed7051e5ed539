"""IVON against its formulas written out, and what an optimiser owes: its whole state, and parameters put back."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.bayesian.estimators import create_approximation
from training.bayesian.estimators.ivon import HESSIAN_EVERY_STEPS, IVON, NaturalGradient
from training.bayesian.posterior import GaussianWeight, Posterior
from training.errors import ConversionError, RecipeError
from training.recipe import Recipe

N = 50
RECIPE = Recipe(
    estimator="ivon",
    prior_scale=0.5,
    initial_scale=0.1,
    beta=0.8,
    batch_size=7,
    memory_images=70.0,
    warmup_epochs=0.0,
    learning_rate=0.05,
)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def begun(module: nn.Module | None = None) -> NaturalGradient:
    approximation = create_approximation(module or network(), RECIPE, N)
    assert isinstance(approximation, NaturalGradient)
    return approximation


def batch(step: int) -> Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def step(approximation: NaturalGradient, number: int, draws: int = 1) -> None:
    approximation.optimizer.zero_grad()
    for draw in range(draws):
        torch.manual_seed(1_000 * number + draw)
        with approximation.sampled_params():
            (approximation.module(batch(number)).square().mean() / draws).backward()
    approximation.optimizer.step()


class Written:
    """The paper's algorithm for the first layer's weight, step by step, with its Hessian moved every step.

    All the rest of the network is taken from the approximation under test, before its own step.
    """

    def __init__(self, mean: Tensor) -> None:
        self.precision = N / RECIPE.beta
        self.decay = RECIPE.prior_scale**-2 / self.precision
        self.start = RECIPE.initial_scale**-2 / self.precision - self.decay
        self.mean, self.gradient = mean.clone(), torch.zeros_like(mean)
        self.hessian = torch.full_like(mean, self.start)
        self.estimates: list[Tensor] = []
        self.steps = 0

    @property
    def scale(self) -> Tensor:
        return 1 / (self.precision * (self.hessian + self.decay)).sqrt()

    def take(self, gradients: list[Tensor], noises: list[Tensor]) -> None:
        """`gradients` are those of each draw's share of the loss."""
        self.steps += 1
        self.estimates.append(torch.stack([g * e / self.scale for g, e in zip(gradients, noises, strict=True)]).sum(0))
        if self.steps % HESSIAN_EVERY_STEPS == 0:
            estimate = torch.stack(self.estimates[-HESSIAN_EVERY_STEPS:]).mean(0)
            pace = 1 - math.exp(-7 * HESSIAN_EVERY_STEPS / 70)
            ahead = estimate - self.hessian
            self.hessian = self.hessian + pace * ahead + 0.5 * pace**2 * ahead**2 / (self.hessian + self.decay)
        self.gradient = 0.9 * self.gradient + 0.1 * torch.stack(gradients).sum(0)
        debiased = self.gradient / (1 - 0.9**self.steps)
        rate = RECIPE.learning_rate * (self.start + self.decay)
        self.mean = self.mean - rate * (debiased + self.decay * self.mean) / (self.hessian + self.decay)


@pytest.mark.parametrize("draws", [1, 3])
def test_steps_are_those_of_the_paper(draws: int) -> None:
    approximation = begun()
    weight = approximation.module[0].weight
    written = Written(weight.detach())
    for number in range(2 * HESSIAN_EVERY_STEPS + 3):
        twin = copy.deepcopy(approximation.module)
        gradients, noises = [], []
        for draw in range(draws):
            torch.manual_seed(1_000 * number + draw)
            drawn = copy.deepcopy(twin)
            of_layers = [torch.randn_like(layer.weight) for layer in (drawn[0], drawn[2])]
            scales = [approximation.optimizer.state[approximation.module[place].weight]["scale"] for place in (0, 2)]
            with torch.no_grad():
                for layer, noise, scale in zip((drawn[0], drawn[2]), of_layers, scales, strict=True):
                    layer.weight += scale * noise
            loss = drawn(batch(number)).square().mean() / draws
            gradients.append(torch.autograd.grad(loss, drawn[0].weight)[0])
            noises.append(of_layers[0])
        step(approximation, number, draws)
        written.take(gradients, noises)
        torch.testing.assert_close(weight.detach(), written.mean)
        torch.testing.assert_close(approximation.posterior().weights["0.weight"].scale.double(), written.scale)


def test_a_loop_of_ones_own_is_set_up_as_a_recipe_is() -> None:
    """With the same hyperparameters; and refused for the same reasons."""
    settings: dict[str, float] = {"lr": 0.05, "prior_scale": 0.5, "initial_scale": 0.1, "beta": 0.8}
    own, module = begun(), network()
    optimizer = IVON.over(module, N, 7, memory_images=70.0, **settings)
    for group, expected in zip(optimizer.param_groups, own.optimizer.param_groups, strict=True):
        assert {key: value for key, value in group.items() if key != "params"} == {
            key: value for key, value in expected.items() if key != "params"
        }
    for name, weight in own.posterior().weights.items():
        assert torch.equal(optimizer.posterior(module).weights[name].scale, weight.scale)
    with pytest.raises(RecipeError, match="initial scale below the prior's"):
        IVON.over(network(), N, 7, memory_images=70.0, **settings | {"initial_scale": 0.5})
    with pytest.raises(ConversionError, match="no convolution or linear layer"):
        IVON.over(nn.Sequential(nn.LayerNorm(3)), N, 7, memory_images=70.0, **settings)


def test_the_hessian_estimate_is_unbiased() -> None:
    """On a quadratic loss ½ Σ a w² the curvature is a, whatever the mean."""
    curvature = torch.tensor([[0.5, 2.0, 4.0]])
    module = nn.Sequential(nn.Linear(3, 1, bias=False))
    approximation = create_approximation(module, RECIPE, N)
    assert isinstance(approximation, NaturalGradient)
    optimizer, weight = approximation.optimizer, module[0].weight
    torch.manual_seed(0)
    draws = 20_000
    for _ in range(draws):
        with approximation.sampled_params():
            (0.5 * (curvature * weight.square()).sum()).backward()
        weight.grad = None
    estimate = optimizer.state[weight]["products"] / optimizer.state[weight]["scale"] / draws
    torch.testing.assert_close(estimate, curvature, rtol=0.05, atol=0.05)


def test_parameters_are_put_back_when_the_forward_raises() -> None:
    approximation = begun()
    before = {name: tensor.clone() for name, tensor in approximation.module.state_dict().items()}
    seen = []

    def fail(module: nn.Module, inputs: object) -> None:
        seen.append(approximation.module[0].weight.detach().clone())
        raise RuntimeError

    approximation.module[2].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError):
        step(approximation, 0)
    assert not torch.equal(seen[0], before["0.weight"])
    for name, tensor in approximation.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not approximation.optimizer.noise


@pytest.mark.parametrize("stop", [1, HESSIAN_EVERY_STEPS, HESSIAN_EVERY_STEPS + 4])
def test_its_state_is_the_whole_of_it(stop: int) -> None:
    """What goes on from a saved state equals what never stopped, to the bit, in the midst of a Hessian's steps too."""
    whole, first = begun(), begun()
    for number in range(30):
        step(whole, number)
    for number in range(stop):
        step(first, number)
    buffer = io.BytesIO()
    torch.save([first.module.state_dict(), first.optimizer.state_dict()], buffer)
    buffer.seek(0)
    module, optimizer = torch.load(buffer, weights_only=True)
    second = begun()
    second.module.load_state_dict(module)
    second.optimizer.load_state_dict(optimizer)
    for number in range(stop, 30):
        step(second, number)
    ours, theirs = second.posterior(), whole.posterior()
    for name, weight in theirs.weights.items():
        assert torch.equal(ours.weights[name].mean, weight.mean)
        assert torch.equal(ours.weights[name].scale, weight.scale)
    assert all(torch.equal(ours.rest[name], tensor) for name, tensor in theirs.rest.items())


def test_it_is_settled_when_the_hessian_has_moved() -> None:
    approximation = begun()
    settled = []
    for number in range(2 * HESSIAN_EVERY_STEPS):
        step(approximation, number)
        settled.append(approximation.synchronised)
    assert [number for number, holds in enumerate(settled, start=1) if holds] == [
        HESSIAN_EVERY_STEPS,
        2 * HESSIAN_EVERY_STEPS,
    ]


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e4, 1e4), st.floats(0.0, 0.999))
def test_scales_stay_positive_whatever_the_curvature_seems_to_be(product: float, memory: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = IVON([weight], [], lr=0.0, precision=100.0, decay=1e-3, hessian=0.5, memory=memory)
    for _ in range(3 * HESSIAN_EVERY_STEPS):
        weight.grad = torch.zeros(3)
        optimizer.state[weight]["products"].fill_(product)
        optimizer.step()
        assert (optimizer.state[weight]["scale"] > 0).all()
        assert optimizer.state[weight]["scale"].isfinite().all()


def test_pruned_weights_stay_at_zero_and_the_others_keep_their_scales() -> None:
    approximation = begun()
    for number in range(HESSIAN_EVERY_STEPS):
        step(approximation, number)
    found = approximation.posterior()
    kept = torch.arange(20).reshape(5, 4) % 3 != 0
    masked = {name: weight for name, weight in found.weights.items()}
    masked["0.weight"] = GaussianWeight(*(part * kept for part in vars(found.weights["0.weight"]).values()))
    again = begun()
    again.restore(Posterior(masked, found.rest))
    start = again.posterior().weights["0.weight"]
    torch.testing.assert_close(start.scale, masked["0.weight"].scale)
    for number in range(3 * HESSIAN_EVERY_STEPS):
        step(again, number)
    weight = again.posterior().weights["0.weight"]
    assert (weight.mean[~kept] == 0).all()
    assert (weight.scale[~kept] == 0).all()
    assert (weight.scale[kept] > 0).all()
    assert (weight.mean[kept] != start.mean[kept]).all()
    assert (weight.scale[kept] != start.scale[kept]).all()


def test_its_divergence_is_that_of_bayesian_layers() -> None:
    approximation = begun()
    for number in range(HESSIAN_EVERY_STEPS):
        step(approximation, number)
    twin = create_approximation(network(), Recipe(estimator="reparam", prior_scale=RECIPE.prior_scale), N)
    twin.restore(approximation.posterior())
    assert approximation.divergence() == pytest.approx(twin.penalty().item(), rel=1e-5)


def test_a_weight_without_scale_but_with_a_mean_is_refused() -> None:
    """Beside others that have one: a layer without any is deterministic."""
    found = begun().posterior()
    weight = found.weights["0.weight"]
    bad = dict(found.weights) | {"0.weight": GaussianWeight(weight.mean, weight.scale * (weight.mean > 0))}
    with pytest.raises(ConversionError, match="without a scale"):
        begun().restore(Posterior(bad, found.rest))


@pytest.mark.parametrize(("images", "steps"), [(7, 120), (14, 60), (42, 20)])
def test_the_memory_counts_images_not_steps(images: int, steps: int) -> None:
    """After 840 images, the same is left of the first Hessian, in however many steps they came."""
    approximation = create_approximation(network(), RECIPE, N, images_per_step=images)
    assert isinstance(approximation, NaturalGradient)
    for parameter in approximation.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(steps):
        approximation.optimizer.step()
    (group,) = (group for group in approximation.optimizer.param_groups if group["random"])
    assert group["left"] == pytest.approx(math.exp(-840 / 70))


def test_the_share_left_is_that_of_the_present_median() -> None:
    """The prior's part counts, which is known from the start: what is left weighs where neither is large."""
    approximation = begun()
    optimizer = approximation.optimizer
    (group,) = {id(group): group for group, _, _ in optimizer.random_weights()}.values()
    begin, decay = group["hessian"], group["decay"]
    assert approximation.figures()["hessian_left"] == pytest.approx(begin / (begin + decay))
    for _, _, state in optimizer.random_weights():
        state["hessian"].fill_(begin / 10)
    group["left"] = 0.01
    assert approximation.figures()["hessian_left"] == pytest.approx(0.01 * begin / (begin / 10 + decay))


def test_a_run_leaves_the_share_that_its_recipe_says() -> None:
    recipe = replace(RECIPE, memory_images=None, epochs=3, hessian_left=0.02)
    assert math.exp(-N * recipe.epochs / recipe.hessian_memory(N)) == pytest.approx(0.02)


@pytest.mark.parametrize("change", [{"beta": 0.0}, {"initial_scale": 0.5}, {"initial_scale": 0.7}])
def test_a_recipe_that_leaves_no_hessian_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="ivon needs a beta above 0 and an initial scale below the prior's"):
        create_approximation(network(), RECIPE.changed(**change), N)


@pytest.mark.parametrize("scale", [0.003, 0.03])
def test_a_step_after_restoring_is_as_long_as_gradient_descents(scale: float) -> None:
    """Whatever the scales of the posterior that it goes on from: α is scaled by their Hessian, not by the first one."""
    approximation = begun()
    found = approximation.posterior()
    even = {
        name: GaussianWeight(weight.mean, torch.full_like(weight.mean, scale)) for name, weight in found.weights.items()
    }
    approximation.restore(Posterior(even, found.rest))
    optimizer = approximation.optimizer
    before = {parameter: parameter.detach().clone() for _, parameter, _ in optimizer.random_weights()}
    for parameter in approximation.module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for group, parameter, _ in optimizer.random_weights():
        expected = before[parameter] - group["lr"] * (1 + group["decay"] * before[parameter])
        assert torch.allclose(parameter, expected, rtol=1e-4, atol=1e-6)
