"""Training against a posterior that is known: Bayesian linear regression with known noise and a conjugate prior.

With Λ = XᵀX/σ_n² + I/σ_p² the exact posterior is N(Λ⁻¹Xᵀy/σ_n², Λ⁻¹), and the best mean-field Gaussian has its mean
and the variances 1/Λ_ii (Bishop 2006, section 10.1.2).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from training.estimators import ESTIMATORS, estimator
from training.layers import BayesianLinear
from training.objective import divergence, negative_elbo

NOISE_SCALE, PRIOR_SCALE = 0.5, 2.0
EXAMPLES, STEPS = 80, 4_000


@pytest.mark.parametrize("name", ESTIMATORS)
def test_linear_regression_ends_at_the_analytic_mean_field_posterior(name: str) -> None:
    torch.manual_seed(0)
    mixing = torch.eye(3) + 0.6 * torch.ones(3, 3)
    x = torch.randn(EXAMPLES, 3) @ mixing
    y = x @ torch.tensor([[1.5], [-2.0], [1.0]]) + NOISE_SCALE * torch.randn(EXAMPLES, 1)
    precision = x.T @ x / NOISE_SCALE**2 + torch.eye(3) / PRIOR_SCALE**2
    mean = torch.linalg.solve(precision, x.T @ y / NOISE_SCALE**2).T
    scale = precision.diagonal().rsqrt()[None]
    # The marginals of the exact posterior are another answer here, which a wrong objective could end at.
    assert (precision.inverse().diagonal().sqrt() / scale > 1.3).all()

    module = nn.Sequential(BayesianLinear(nn.Linear(3, 1, bias=False), estimator(name), PRIOR_SCALE, 0.3))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        data = (module(x) - y).square().mean() / (2 * NOISE_SCALE**2)
        loss = negative_elbo(data, divergence(module), beta=1.0, train_size=EXAMPLES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    found = module[0].weight()
    torch.testing.assert_close(found.mean, mean, rtol=0.02, atol=0)
    torch.testing.assert_close(found.scale, scale, rtol=0.10, atol=0)
