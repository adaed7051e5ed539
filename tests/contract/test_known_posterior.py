"""Training against a posterior that is known: Bayesian linear regression with known noise and a conjugate prior.

With Λ = XᵀX/σ_n² + I/σ_p² the exact posterior is N(Λ⁻¹Xᵀy/σ_n², Λ⁻¹), and the best mean-field Gaussian has its mean
and the variances 1/Λ_ii (Bishop 2006, section 10.1.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.estimators import DRAWS, create_approximation
from training.bayesian.objective import negative_elbo
from training.bayesian.posterior import Posterior
from training.recipe import Recipe

NOISE_SCALE, PRIOR_SCALE = 0.5, 2.0
EXAMPLES, STEPS = 80, 1_500
# One weight for all examples has the noisiest gradients.
MORE_STEPS = {"reparam": 4_000}


@dataclass(frozen=True)
class Regression:
    """Examples, and the mean-field posterior of their weights."""

    x: Tensor
    y: Tensor
    mean: Tensor
    scale: Tensor


@pytest.fixture(scope="module")
def regression() -> Regression:
    torch.manual_seed(0)
    mixing = torch.eye(3) + 0.6 * torch.ones(3, 3)
    x = torch.randn(EXAMPLES, 3) @ mixing
    y = x @ torch.tensor([[1.5], [-2.0], [1.0]]) + NOISE_SCALE * torch.randn(EXAMPLES, 1)
    precision = x.T @ x / NOISE_SCALE**2 + torch.eye(3) / PRIOR_SCALE**2
    mean = torch.linalg.solve(precision, x.T @ y / NOISE_SCALE**2).T
    scale = precision.diagonal().rsqrt()[None]
    # The marginals of the exact posterior are another answer here, which a wrong objective could end at.
    assert (precision.inverse().diagonal().sqrt() / scale > 1.3).all()
    return Regression(x, y, mean, scale)


def descend(
    approximation: Approximation, regression: Regression, learning_rate: float, draws: int = 1, steps: int = STEPS
) -> Posterior:
    """The posterior at the end of so many steps on all examples."""
    optimizer = approximation.optimizer
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        for _ in range(draws):
            with approximation.sampled_params():
                data = (approximation.module(regression.x) - regression.y).square().mean() / (2 * NOISE_SCALE**2)
                negative_elbo(data, approximation.penalty(), weight=1 / EXAMPLES, share=1 / draws).backward()
        optimizer.step()
    return approximation.posterior()


def plain() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 1, bias=False))


@pytest.mark.parametrize("name", DRAWS)
def test_layers_end_at_the_analytic_mean_field_posterior(name: str, regression: Regression) -> None:
    recipe = Recipe(estimator=name, prior_scale=PRIOR_SCALE, initial_scale=0.3)
    steps = MORE_STEPS.get(name, STEPS)
    found = descend(create_approximation(plain(), recipe, EXAMPLES), regression, 0.05, steps=steps).weights["0.weight"]
    torch.testing.assert_close(found.mean, regression.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(found.scale, regression.scale, rtol=0.10, atol=0)


@pytest.mark.parametrize("draws", [1, 3])
def test_ivon_ends_at_the_analytic_mean_field_posterior(draws: int, regression: Regression) -> None:
    recipe = Recipe(
        estimator="ivon",
        prior_scale=PRIOR_SCALE,
        initial_scale=0.05,
        beta=1.0,
        batch_size=EXAMPLES,
        memory_images=1_000.0 * EXAMPLES,
        warmup_epochs=0.0,
    )
    approximation = create_approximation(plain(), recipe, EXAMPLES)
    found = descend(approximation, regression, 0.02, draws).weights["0.weight"]
    torch.testing.assert_close(found.mean, regression.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(found.scale, regression.scale, rtol=0.10, atol=0)


def test_the_plain_network_ends_at_the_most_probable_weights(regression: Regression) -> None:
    recipe = Recipe(estimator="none", prior_scale=PRIOR_SCALE, beta=1.0, warmup_epochs=0.0)
    found = descend(create_approximation(plain(), recipe, EXAMPLES), regression, 0.005).weights["0.weight"]
    torch.testing.assert_close(found.mean, regression.mean, rtol=1e-3, atol=0)
    assert (found.scale == 0).all()
