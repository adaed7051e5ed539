"""A teacher's targets: probabilities, on average over draws its predictive distribution."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.bayesian.estimators import create_approximation
from training.bayesian.objective import data_term
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Dataset
from training.distributed.world import World
from training.recipe import Recipe
from training.trainer.distillation import TEACHER_EPOCHS, Teacher
from training.trainer.loop import LoopOptions, TrainLoop, TrainState, fit

PLAIN = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
POSTERIOR = Posterior({"1.weight": GaussianWeight(torch.linspace(-1, 1, 12).view(3, 4), torch.full((3, 4), 0.5))}, {})
X, LABELS = torch.linspace(0, 1, 20).view(5, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_targets_are_shares_of_the_teacher_and_the_label(share: float) -> None:
    targets = Teacher(PLAIN, POSTERIOR, share).targets(X, LABELS, 0, 0)
    assert torch.allclose(targets.sum(1), torch.ones(5))
    assert (targets.gather(1, LABELS[:, None]) >= 1 - share - 1e-6).all()
    again = Teacher(PLAIN, POSTERIOR, share).targets(X, LABELS, 0, 0)
    assert torch.equal(targets, again)


def test_on_average_they_are_the_predictive_distribution() -> None:
    teacher = Teacher(PLAIN, POSTERIOR, 1.0)
    mean = torch.stack([teacher.targets(X, LABELS, 0, batch) for batch in range(4_000)]).mean(0)
    weights = [POSTERIOR.draw(torch.Generator().manual_seed(seed))["1.weight"] for seed in range(4_000)]
    predictive = torch.stack([(X.flatten(1) @ weight.T).softmax(1) for weight in weights]).mean(0)
    assert torch.allclose(mean, predictive, atol=0.01)


def test_a_batch_that_comes_back_is_not_predicted_again(digits: Dataset, alone: World) -> None:
    """Epochs return after the teacher's own, with the same images in the same order."""
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    recipe = Recipe(epochs=2 * TEACHER_EPOCHS, estimator="none", warmup_epochs=0.0, augmentation="crop-flip", limit=200)
    state = TrainState(create_approximation(plain, recipe, len(digits.train)))
    posterior = state.approximation.posterior()
    teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), posterior, 0.5)
    fit(state, digits, recipe, alone, teacher=teacher, until=TEACHER_EPOCHS)
    known = dict(teacher.known)
    fit(state, digits, recipe, alone, teacher=teacher)
    assert teacher.known.keys() == known.keys()
    loop = TrainLoop(TrainState(state.approximation), digits, recipe, alone, LoopOptions(), teacher)
    index = loop.batches.rank_batch(loop.batches.world_batch(loop.order, 0), 0)
    x, found = loop._examples(index, 0)
    fresh = replace(teacher, known={})
    assert torch.equal(found, fresh.targets(x, digits.train.labels[index], recipe.seed, 0, 0, 0))


def test_the_data_term_of_certain_targets_is_that_of_labels() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    certain = F.one_hot(LABELS, 3).float()
    assert data_term(logits, certain) == pytest.approx(float(data_term(logits, LABELS)))
