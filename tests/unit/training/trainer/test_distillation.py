"""A teacher's targets: probabilities, on average over draws its predictive distribution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.bayesian.objective import data_term
from training.bayesian.posterior import GaussianWeight, Posterior
from training.trainer.distillation import Teacher

PLAIN = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
POSTERIOR = Posterior({"1.weight": GaussianWeight(torch.linspace(-1, 1, 12).view(3, 4), torch.full((3, 4), 0.5))}, {})
X, LABELS = torch.linspace(0, 1, 20).view(5, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_targets_are_shares_of_the_teacher_and_the_label(share: float) -> None:
    targets = Teacher(PLAIN, POSTERIOR, share).targets(X, LABELS, torch.Generator().manual_seed(0))
    assert torch.allclose(targets.sum(1), torch.ones(5))
    assert (targets.gather(1, LABELS[:, None]) >= 1 - share - 1e-6).all()
    again = Teacher(PLAIN, POSTERIOR, share).targets(X, LABELS, torch.Generator().manual_seed(0))
    assert torch.equal(targets, again)


def test_on_average_they_are_the_predictive_distribution() -> None:
    teacher, generator = Teacher(PLAIN, POSTERIOR, 1.0), torch.Generator().manual_seed(1)
    mean = torch.stack([teacher.targets(X, LABELS, generator) for _ in range(4_000)]).mean(0)
    weights = [POSTERIOR.draw(torch.Generator().manual_seed(seed))["1.weight"] for seed in range(4_000)]
    predictive = torch.stack([(X.flatten(1) @ weight.T).softmax(1) for weight in weights]).mean(0)
    assert torch.allclose(mean, predictive, atol=0.01)


def test_the_data_term_of_certain_targets_is_that_of_labels() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    certain = F.one_hot(LABELS, 3).float()
    assert data_term(logits, certain) == pytest.approx(float(data_term(logits, LABELS)))
