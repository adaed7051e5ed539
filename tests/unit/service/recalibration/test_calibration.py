"""The service calibrates as pruning does: the same rules in numpy and in torch, on the same draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.manifest import Score
from pruning.evaluation import calibration as pruning
from pruning.evaluation.ood import SCORES
from service.recalibration.calibration import abstention_threshold, calibrate, fit_temperature
from tests.support.draws import draws, level
from training.evaluation import temperature as training


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 10**6),
    st.sampled_from([9, 25, 120]),
    st.floats(0.5, 8),
    st.sampled_from(list(SCORES)),
    st.booleans(),
)
def test_calibrations_are_prunings(seed: int, count: int, sharpness: float, score: Score, noisy: bool) -> None:
    logits_SNK, labels_N, noise_N = draws(seed, count, sharpness)
    if noisy:
        labels_N = np.roll(labels_N, 1)
    found = calibrate(logits_SNK, labels_N, level(score), noise_N)
    torch_SNK, torch_N = torch.from_numpy(logits_SNK), torch.from_numpy(labels_N)
    ood = {"noise": torch.randn(8, 40, 4, generator=torch.Generator().manual_seed(seed))}
    expected = pruning.calibrate(torch_SNK, torch_N, ood, torch.from_numpy(noise_N))
    # Both searches stop near the optimum, where the loss is flat.
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-4)
    for ours, theirs in (
        (found.conformal_quantiles, expected.conformal_quantiles),
        (found.aps_quantiles, expected.aps_quantiles),
    ):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert found.abstain_above == pytest.approx(expected.abstain_above, abs=1e-4)
    assert (found.images, found.folds) == (expected.images, expected.folds)
    inside_N = SCORES[score](torch_SNK, found.temperature).sort().values
    rule = found.out_of_distribution
    assert rule is not None
    assert rule.score == score
    assert rule.above == pytest.approx(float(inside_N[math.ceil(0.95 * count) - 1]), abs=1e-6)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(true_temperature: float) -> None:
    """Labels that are drawn from the softmax at a temperature have that one."""
    generator = np.random.default_rng(0)
    logits_1NK = generator.normal(scale=3, size=(1, 20_000, 3)).astype(np.float32)
    p_NK = np.exp(logits_1NK[0] / true_temperature)
    p_NK /= p_NK.sum(1, keepdims=True)
    labels_N = (generator.random((20_000, 1)) > p_NK.cumsum(1)).sum(1)
    assert fit_temperature(logits_1NK, labels_N, 1) == pytest.approx(true_temperature, rel=0.04)
    torch_t = training.fit_temperature(torch.from_numpy(logits_1NK), torch.from_numpy(labels_N))
    assert fit_temperature(logits_1NK, labels_N, 1) == pytest.approx(torch_t, rel=1e-5)


def test_a_level_without_an_ood_rule_gets_none() -> None:
    logits_SNK, labels_N, noise_N = draws(0)
    assert calibrate(logits_SNK, labels_N, level(None), noise_N).out_of_distribution is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), min_size=1, max_size=60))
def test_thresholds_of_abstention_are_prunings(images: list[tuple[float, bool]]) -> None:
    entropy_N, right_N = map(np.array, zip(*images, strict=True))
    expected = pruning.abstention_threshold(torch.from_numpy(entropy_N), torch.from_numpy(right_N))
    assert abstention_threshold(entropy_N, right_N) == expected


def test_the_size_of_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits_SNK, labels_N, noise_N = draws(3)
    whole = calibrate(logits_SNK, labels_N, level(), noise_N)
    monkeypatch.setattr("service.recalibration.calibration.CHUNK_VALUES", 200)
    pieces = calibrate(logits_SNK, labels_N, level(), noise_N)
    assert pieces.temperature == pytest.approx(whole.temperature, rel=1e-4)
    assert pieces.conformal_quantiles == pytest.approx(whole.conformal_quantiles, abs=1e-4)
