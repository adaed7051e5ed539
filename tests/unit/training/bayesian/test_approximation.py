"""The optimiser's state goes on in a smaller network, cut as its weights are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.estimators import create_approximation
from training.bayesian.posterior import GaussianWeight, Posterior
from training.recipe import Recipe

X, LABELS = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
OWN = {
    "ivon": {"learning_rate": 0.1, "beta": 0.5, "prior_scale": 3.0, "warmup_epochs": 0.0},
    "none": {"learning_rate": 0.05, "warmup_epochs": 0.0},
}
KEPT = torch.tensor([0, 2])


def begun(estimator: str, width: int) -> Approximation:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
    return create_approximation(plain, Recipe(estimator=estimator, **OWN.get(estimator, {})), 20)


def descend(approximation: Approximation, steps: int) -> None:
    for step in range(steps):
        torch.manual_seed(step)
        approximation.optimizer.zero_grad()
        with approximation.sampled_params():
            nn.functional.cross_entropy(approximation.module(X), LABELS).backward()
        approximation.optimizer.step()


def cut(name: str, tensor: Tensor) -> Tensor:
    """Two of three hidden units."""
    rows = tensor[KEPT] if name in ("0.weight", "0.bias") else tensor
    return rows[:, KEPT] if name == "2.weight" else rows


@pytest.mark.parametrize("estimator", ["reparam", "ivon", "none"])
def test_state_is_cut_and_counters_go_on(estimator: str) -> None:
    """Momentum, second moments and Hessians lose a hidden unit; steps and rates are those of before."""
    whole, small = begun(estimator, 3), begun(estimator, 2)
    descend(whole, 12)
    posterior = whole.posterior()
    narrow = Posterior(
        {n: GaussianWeight(cut(n, w.mean), cut(n, w.scale)) for n, w in posterior.weights.items()},
        {n: cut(n, tensor) for n, tensor in posterior.rest.items()},
    )
    small.restore(narrow)
    small.carry_over(whole, cut)
    names = {parameter: name for name, parameter in whole.module.named_parameters()}
    states = {names[parameter]: state for parameter, state in whole.optimizer.state.items()}
    compared = 0
    for name, parameter in small.module.named_parameters():
        plain = name.replace("log_scale", "weight").replace("mean", "weight")
        for key, part in small.optimizer.state[parameter].items():
            expected = states[name][key]
            if isinstance(expected, Tensor) and expected.dim():
                assert part.shape == parameter.shape
                expected = cut(plain, expected)
            assert torch.equal(torch.as_tensor(part), torch.as_tensor(expected))
            compared += 1
    assert compared >= 4
    for group, before in zip(small.optimizer.param_groups, whole.optimizer.param_groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in before.items() if k != "params"}
    descend(small, 3)
    assert all(weight.mean.isfinite().all() for weight in small.posterior().weights.values())
