"""Calibration against laws, known answers and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from torchmetrics.functional.classification import binary_auroc, multiclass_calibration_error

from model_store.small_samples import ALPHAS
from pruning.errors import CalibrationError
from pruning.evaluation.calibration import abstention_threshold, aps_scores, calibrate, conformal_quantile
from tests.support.answers import answers
from training.evaluation import metrics
from training.evaluation.metrics import predictive


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.sampled_from([0.1, 0.05, 0.01]))
def test_conformal_quantile_is_the_split_conformal_rank(scores: list[float], alpha: float) -> None:
    """At least ⌈(n+1)(1−α)⌉ scores lie at or below it, and it is the smallest such score."""
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    if rank > len(scores):
        with pytest.raises(CalibrationError, match="too few"):
            conformal_quantile(torch.tensor(scores, dtype=torch.float64), alpha)
    else:
        found = conformal_quantile(torch.tensor(scores, dtype=torch.float64), alpha)
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


@pytest.mark.parametrize("alpha", ALPHAS)
def test_both_kinds_of_sets_cover_new_images(alpha: float) -> None:
    """Within 1.5 points of 1 − α on 20,000 images, calibrated on 5,000."""
    logits, labels = answers(25_000, 0)
    noise = torch.rand(25_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    known = calibrate(logits[:, :5_000], labels[:5_000], {"flat": answers(400, 2, 0.8)[0]}, noise[:5_000])
    p = predictive(logits[:, 5_000:], known.temperature)
    lac = 1 - p.gather(1, labels[5_000:, None]).squeeze(1)
    for scores, quantiles in (
        (lac, known.conformal_quantiles),
        (aps_scores(p, labels[5_000:], noise[5_000:]), known.aps_quantiles),
    ):
        assert float((scores <= quantiles[str(alpha)]).double().mean()) == pytest.approx(1 - alpha, abs=0.015)


def test_aps_score_is_the_mass_above_and_a_part_of_its_own() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    found = aps_scores(p, torch.tensor([1, 2]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.65, 0.7])


@pytest.mark.parametrize(
    ("count", "alphas"), [(2, []), (8, []), (9, ["0.1"]), (19, ["0.1", "0.05"]), (99, list(map(str, ALPHAS)))]
)
def test_there_are_sets_for_what_the_images_allow(count: int, alphas: list[str]) -> None:
    """And all else is calibrated on however few."""
    logits, labels = answers(count, 3)
    noise = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = calibrate(logits, labels, {"flat": answers(40, 2, 0.8)[0]}, noise)
    assert [*found.conformal_quantiles] == [*found.aps_quantiles] == alphas
    assert found.images == count
    assert found.missing_sets.keys() == set(map(str, ALPHAS)) - {*alphas}


def test_figures_agree_with_torchmetrics() -> None:
    """ECE, NLL, Brier score and AUROC are those of an independent implementation."""
    logits, labels = answers(3_000, 7)
    p = predictive(logits, 1.3)
    expected = multiclass_calibration_error(p, labels, num_classes=6, n_bins=metrics.ECE_BINS, norm="l1")
    assert metrics.ece(p, labels) == pytest.approx(float(expected), abs=1e-6)
    inside, outside = metrics.entropy(p[:2_000]), metrics.entropy(p[2_000:]) + 0.2
    truth = torch.cat([torch.zeros(2_000), torch.ones(1_000)]).long()
    scores = torch.cat([inside, outside])
    assert metrics.auroc(inside, outside) == pytest.approx(float(binary_auroc(scores / scores.max(), truth)), abs=1e-6)


class _Given(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its answer."""

    classes_ = np.arange(6)

    def fit(self, p_NK: np.ndarray, labels_N: np.ndarray) -> _Given:
        return self

    def predict_proba(self, p_NK: np.ndarray) -> np.ndarray:
        return p_NK

    def predict(self, p_NK: np.ndarray) -> np.ndarray:
        return p_NK.argmax(1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


@pytest.mark.parametrize("alpha", ALPHAS)
def test_sets_agree_with_mapie(alpha: float) -> None:
    """LAC sets are the same, adaptive sets, which are random, as large on average."""
    logits, labels = answers(8_000, 8)
    p, y = predictive(logits), labels.numpy()
    noise = torch.rand(8_000, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    known, new = slice(0, 4_000), slice(4_000, None)

    def theirs(score: str, **how: object) -> np.ndarray:
        conformal = SplitConformalClassifier(
            _Given(), confidence_level=1 - alpha, conformity_score=score, prefit=True, random_state=0
        )
        conformal.conformalize(p[known].numpy(), y[known])
        return conformal.predict_set(p[new].numpy(), conformity_score_params=how)[1][:, :, 0]

    lac = conformal_quantile(1 - p[known].gather(1, labels[known, None]).squeeze(1), alpha)
    assert ((1 - p[new].numpy() <= lac) == theirs("lac")).mean() > 0.9999
    aps = conformal_quantile(aps_scores(p[known], labels[known], noise[known]), alpha)
    each = torch.stack([aps_scores(p[new], torch.full((4_000,), k), noise[new]) for k in range(6)], 1)
    sizes = [(each.numpy() <= aps).sum(1).mean(), theirs("aps", include_last_label="randomized").sum(1).mean()]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
