"""Calibration against laws and known answers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.evaluation import abstention_threshold, conformal_quantile, fit_temperature, reference_histograms
from training.metrics import predictive


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.sampled_from([0.1, 0.05, 0.01]))
def test_conformal_quantile_is_the_split_conformal_rank(scores: list[float], alpha: float) -> None:
    """At least ⌈(n+1)(1−α)⌉ scores lie at or below it, and it is the smallest such score."""
    found = conformal_quantile(torch.tensor(scores, dtype=torch.float64), alpha)
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    if rank > len(scores):
        assert found == 1
    else:
        assert sum(score <= found for score in scores) >= rank
        assert sum(score < found for score in scores) < rank


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_conformal_sets_cover(alpha: float) -> None:
    """On exchangeable data, the mean coverage over many calibrations is 1 − α or a little more."""
    generator = torch.Generator().manual_seed(0)
    covered = []
    for _ in range(400):
        scores = torch.rand(500, generator=generator, dtype=torch.float64).square()
        quantile = conformal_quantile(scores[:200], alpha)
        covered.append(float((scores[200:] <= quantile).double().mean()))
    mean = sum(covered) / len(covered)
    assert 1 - alpha - 0.004 < mean < 1 - alpha + 1 / 201 + 0.004


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_temperature_is_found(truth: float) -> None:
    """Labels drawn from softmax(logits / T) give T back."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(1, 20_000, 5, generator=generator)
    labels = torch.multinomial(predictive(logits, truth), 1, generator=generator).squeeze(1)
    assert fit_temperature(logits, labels) == pytest.approx(truth, rel=0.05)


def test_few_images_that_are_all_right_do_not_ask_for_certainty() -> None:
    """The prior holds the temperature where data say only: colder."""
    logits = torch.tensor([[[3.0, 0.0]]]).expand(4, 100, 2)
    labels = torch.zeros(100, dtype=torch.long)
    assert 0.2 < fit_temperature(logits, labels) < 1


def test_abstention_threshold() -> None:
    """The accepted answers are wrong at most one time in a hundred, and one image in twenty is not accepted."""
    entropy = torch.arange(1000) / 1000
    assert abstention_threshold(entropy, torch.ones(1000, dtype=torch.bool)) == pytest.approx(0.949)
    correct = torch.ones(1000, dtype=torch.bool)
    correct[500:] = False
    threshold = abstention_threshold(entropy, correct)
    accepted = entropy <= threshold
    assert (~correct[accepted]).double().mean() <= 0.01
    assert threshold == pytest.approx(0.504, abs=0.001)
    assert abstention_threshold(entropy, torch.zeros(1000, dtype=torch.bool)) == 0


def test_histograms_are_shares() -> None:
    """Each sums to one, and values fall into the bins they belong to."""
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    reference = reference_histograms(p, torch.tensor([0.0, math.log(2)], dtype=torch.float64))
    for histogram in (reference.confidence, reference.entropy, reference.mutual_information):
        assert sum(histogram) == pytest.approx(1)
    assert reference.confidence[10] == reference.confidence[19] == 0.5
    assert reference.entropy[0] == reference.entropy[19] == 0.5
