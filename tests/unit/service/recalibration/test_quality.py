"""Figures on labelled pictures: the formulas of training and pruning, and no picture calibrates its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pruning.evaluation.calibration import covers
from pruning.evaluation.reference import reference_histograms
from pruning.evaluation.sampling_error import standard_error
from service.recalibration.calibration import calibrate
from service.recalibration.quality import cross_fitted, folds_of, measure, monte_carlo, reference
from tests.support.draws import draws, level
from training.evaluation import metrics


def test_figures_are_trainings() -> None:
    logits_SNK, labels_N, noise_N = draws(1, sharpness=1.5)
    calibration = calibrate(logits_SNK, labels_N, level(), noise_N)
    found = measure(logits_SNK, labels_N, level(), noise_N, [np.arange(120)], [calibration])
    torch_SNK, torch_N = torch.from_numpy(logits_SNK), torch.from_numpy(labels_N)
    p_NK = metrics.predictive(torch_SNK, calibration.temperature)
    for name in ("accuracy", "nll", "brier", "ece", "aurc"):
        assert getattr(found.metrics, name) == pytest.approx(getattr(metrics, name)(p_NK, torch_N), abs=1e-12), name
    information = metrics.mutual_information(torch_SNK, calibration.temperature).mean()
    assert found.metrics.mutual_information == pytest.approx(float(information))
    assert found.metrics.test_images == 120
    expected = covers(p_NK, torch_N, calibration, torch.from_numpy(noise_N))
    for kind, of_alpha in expected.items():
        shares = {alpha: float(covered_N.double().mean()) for alpha, covered_N in of_alpha.items()}
        assert found.coverage[kind] == pytest.approx(shares)


@pytest.mark.parametrize("count", [3, 20, 95, 400])
def test_folds_hold_every_picture_once_and_their_share_of_each_class(count: int) -> None:
    labels_N = np.random.default_rng(count).integers(0, 3, count)
    folds = folds_of(labels_N)
    assert sorted(np.concatenate(folds).tolist()) == list(range(count))
    assert len(folds) == min(10, count)
    for number in range(3):
        shares = [int((labels_N[fold] == number).sum()) for fold in folds]
        assert max(shares) - min(shares) <= 1


def test_no_picture_calibrates_its_own() -> None:
    """Sets hold exactly 46 of the 50 labels that they were calibrated on; of others they promise 42/46 or more."""
    unseen = []
    for seed in range(15):
        logits_SNK, labels_N, noise_N = draws(seed, count=50, sharpness=1.0)
        whole = calibrate(logits_SNK, labels_N, level(), noise_N)
        everyone = measure(logits_SNK, labels_N, level(), noise_N, [np.arange(50)], [whole])
        assert everyone.coverage["aps"]["0.1"] == pytest.approx(46 / 50)
        unseen.append(cross_fitted(logits_SNK, labels_N, level(), noise_N).coverage["aps"]["0.1"])
    assert np.mean(unseen) == pytest.approx(42 / 46, abs=0.025)


def test_error_rates_that_some_fold_lacks_are_left_out() -> None:
    """Of 20 pictures all allow α = 0.05, and nine tenths of them do not."""
    logits_SNK, labels_N, noise_N = draws(0, count=20)
    assert calibrate(logits_SNK, labels_N, level(), noise_N).conformal_quantiles.keys() == {"0.1", "0.05"}
    assert cross_fitted(logits_SNK, labels_N, level(), noise_N).coverage["lac"].keys() == {"0.1"}


@pytest.mark.parametrize("members", [1, 2, 3])
def test_references_are_prunings(members: int) -> None:
    logits_SNK, *_ = draws(2, samples=12)
    first = {1: 4, 2: 4, 3: 6}[members]
    expected = reference_histograms(torch.from_numpy(logits_SNK[:first]), 1.3)
    found = reference(logits_SNK, 1.3, members)
    for name in ("confidence", "entropy", "mutual_information"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
        assert getattr(found.edges, name) == pytest.approx(getattr(expected.edges, name))


@pytest.mark.parametrize(
    ("samples", "members"), [(1, 1), (2, 1), (4, 1), (32, 1), (5, 1), (2, 2), (4, 2), (8, 2), (32, 2), (12, 3), (3, 3)]
)
def test_standard_errors_are_prunings(samples: int, members: int) -> None:
    logits_SNK, *_ = draws(4, samples=samples)
    found = monte_carlo(logits_SNK, 1.2, members)
    assert found.draws == samples
    assert found.standard_error == pytest.approx(standard_error(torch.from_numpy(logits_SNK), 1.2, members))
