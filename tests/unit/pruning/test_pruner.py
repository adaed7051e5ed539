"""A run's posterior to that of a level, by every road."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning.errors import LevelError, PosteriorError
from pruning.fine_tuning import SCHEDULES, FineTuning
from pruning.latency import milliseconds
from pruning.level import DENSE, Level, parse_levels
from pruning.mask import weights_left
from pruning.pruner import Pruner, Pruning, automatic, compacted
from pruning.subject import Subject
from training.posterior import GaussianWeight, Posterior
from training.run import Run


@pytest.fixture(scope="module")
def subject(digits_run: Path) -> Subject:
    """The digits, with few images, so that an epoch is short."""
    whole = Subject.of(Run(digits_run))
    return replace(whole, dataset=replace(whole.dataset, train=whole.dataset.train[:256]))


def left(subject: Subject, posterior: Posterior) -> float:
    return weights_left(posterior) / subject.weights


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_level_is_met_after_fine_tuning(subject: Subject, granularity: str, schedule: str) -> None:
    """Zeros stay zeros while training goes on, and what is left has moved and has scales."""
    how = Pruning("snr", granularity, tuning=FineTuning(4, schedule, distillation=0.5))
    posterior = Pruner(subject, how).level(Level.parse("p80"), subject.posterior)
    assert left(subject, posterior) == pytest.approx(0.2, abs=1e-3 if granularity == "weight" else 0.08)
    for weight in posterior.weights.values():
        assert ((weight.mean == 0) == (weight.scale == 0)).all()


def test_the_subject_is_left_as_it_was(subject: Subject) -> None:
    before = {name: weight.mean.clone() for name, weight in subject.posterior.weights.items()}
    Pruner(subject, Pruning(tuning=FineTuning(2))).level(Level.parse("p50"), subject.posterior)
    for name, mean in before.items():
        assert torch.equal(subject.posterior.weights[name].mean, mean)


def test_levels_by_multiply_adds_and_by_time(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are limits that the compacted network keeps to. A millisecond is ten kilobytes here: clocks are noisy."""
    monkeypatch.setattr("pruning.latency._milliseconds", lambda model, x: len(model) / 1e4)
    pruner = Pruner(subject, Pruning(tuning=FineTuning(0)))
    dense = compacted(subject.trace(subject.posterior))
    quarter = compacted(subject.trace(pruner.level(Level.parse("x4"), subject.posterior)))
    assert quarter.multiply_adds <= dense.multiply_adds / 4
    wanted = Level("t", round(700 * milliseconds(dense)))
    faster = compacted(subject.trace(pruner.level(wanted, subject.posterior)))
    assert milliseconds(faster) < milliseconds(dense)
    assert faster.multiply_adds < dense.multiply_adds


def test_a_gradual_level_starts_from_the_one_before(subject: Subject) -> None:
    """What is gone at p50 is gone at p80, though the scores have moved in between."""
    made = dict(Pruner(subject, Pruning("snr", "weight", tuning=FineTuning(1))).levels(parse_levels("p50,p80")))
    assert made[DENSE] is subject.posterior
    half, fifth = made[Level.parse("p50")], made[Level.parse("p80")]
    for name, weight in half.weights.items():
        assert ((fifth.weights[name].mean != 0) <= (weight.mean != 0)).all()


def test_a_level_that_cannot_be_reached_is_refused_before_anything_is_trained(subject: Subject) -> None:
    levels = Pruner(subject, Pruning(granularity="weight")).levels(parse_levels("p50,x2"))
    with pytest.raises(LevelError, match="x2: zeros among weights save no multiply-adds"):
        next(levels)


def test_auto_is_the_share_that_the_evidence_is_better_without(subject: Subject) -> None:
    level = automatic(subject)
    assert level.kind == "p"
    prior = subject.recipe.prior_scale
    weights = subject.posterior.weights.values()
    below = sum(int(((w.mean / w.scale) ** 2 <= 2 * (prior / w.scale).log()).sum()) for w in weights)
    assert level.amount == round(100 * below / subject.weights)


def test_auto_of_a_posterior_that_needs_all_its_weights_is_no_level(subject: Subject) -> None:
    sure = {
        name: GaussianWeight(torch.ones_like(w.mean), 1e-3 * torch.ones_like(w.mean))
        for name, w in subject.posterior.weights.items()
    }
    with pytest.raises(LevelError, match=r"better without 0\.0% of the weights"):
        automatic(replace(subject, posterior=Posterior(sure, subject.posterior.rest)))


def test_a_posterior_that_cannot_be_ranked_is_refused(subject: Subject) -> None:
    for mean, scale, says in ((torch.nan, 1.0, "not finite"), (1.0, 0.0, "scale of zero")):
        weights = dict(subject.posterior.weights)
        name = next(iter(weights))
        shape = weights[name].mean.shape
        weights[name] = GaussianWeight(torch.full(shape, mean), torch.full(shape, scale))
        bad = replace(subject, posterior=Posterior(weights, subject.posterior.rest))
        with pytest.raises(PosteriorError, match=says):
            Pruner(bad, Pruning()).level(Level.parse("p50"), bad.posterior)
