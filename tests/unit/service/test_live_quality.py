"""Live quality: known shares, intervals that hold what they promise, and p-values of the distributions themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model_store.small_samples import wilson_interval
from service.live_quality import (
    BEYOND_CHANCE,
    MIN_LABELS,
    WINDOW,
    AnsweredImage,
    Estimate,
    LiveQuality,
    beta_binomial_tail,
    binomial_tail,
)


def image(top: int = 0, confidence: float = 0.9, accepted: bool = True, bits: int = 1) -> AnsweredImage:
    return AnsweredImage(top, confidence, accepted, 0.1, bits)


def estimate(held: int, images: int) -> Estimate:
    return Estimate(held / images, *wilson_interval(held / images, images), images)


def test_figures_are_shares_of_the_labels() -> None:
    live = LiveQuality(None)
    for number in range(100):
        live.record(image(top=0, accepted=number < 60, bits=0b11), label=0 if number < 50 else 1 if number < 80 else 2)
    assert live.labels == 100
    assert live.accuracy == (0.5, *wilson_interval(0.5, 100), 100)
    assert live.accepted_accuracy == (50 / 60, *wilson_interval(50 / 60, 60), 60)
    assert live.coverage == {0.1: (0.8, *wilson_interval(0.8, 100), 100)}
    ece = live.ece
    assert ece is not None
    assert ece.value == pytest.approx(0.4)
    assert ece.low < 0.4 < ece.high


def test_too_few_labels_say_nothing() -> None:
    live = LiveQuality(None)
    for _ in range(MIN_LABELS - 1):
        live.record(image(accepted=False), 0)
    assert (live.accuracy, live.accepted_accuracy, live.ece, live.coverage) == (None, None, None, {})
    live.record(image(accepted=False), 0)
    assert live.accuracy is not None
    assert live.accepted_accuracy is None


def test_images_without_a_set_count_for_all_but_coverage() -> None:
    live = LiveQuality(None)
    for _ in range(50):
        live.record(AnsweredImage(0, 0.9, True, None, 0), 0)
    assert live.accuracy is not None
    assert live.coverage == {}


def test_the_latest_labels_count() -> None:
    """And memory is bounded."""
    live = LiveQuality(None)
    for number in range(3 * WINDOW):
        live.record(image(), label=int(number < 2 * WINDOW))
    assert live.labels == 3 * WINDOW
    assert live.accuracy is not None
    assert (live.accuracy.value, live.accuracy.images) == (1.0, WINDOW)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 1000), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]), st.integers(20, 2000))
def test_tails_are_the_distributions(count: int, part: float, share: float, calibrated: int) -> None:
    held = round(part * count)
    assert binomial_tail(held, count, share) == pytest.approx(stats.binom.cdf(held, count, share), abs=1e-9)
    a = min(calibrated, int(np.ceil((calibrated + 1) * share - 1e-9)))
    b = calibrated + 1 - a
    assert beta_binomial_tail(held, count, a, b) == pytest.approx(stats.betabinom.cdf(held, count, a, b), abs=1e-7)


@pytest.mark.parametrize("calibrated", [20, 100, 1000])
def test_sets_as_calibrated_are_below_by_chance_alone(calibrated: int) -> None:
    """Over calibration sets and images p-values are uniform: about one in twenty is under 0.05."""
    generator, low = np.random.default_rng(calibrated), 0
    rank = int(np.ceil((calibrated + 1) * 0.9 - 1e-9))
    live = LiveQuality(calibrated)
    for _ in range(1_000):
        quantile = np.sort(generator.random(calibrated))[rank - 1]
        held = int((generator.random(300) <= quantile).sum())
        low += live.coverage_p_value(0.1, estimate(held, 300)) < 0.05
    assert low / 1_000 == pytest.approx(0.05, abs=0.022)


def test_sets_that_hold_too_few_labels_are_beyond_chance() -> None:
    """Of 500 images 80 % are far below 90 %, and 88 % are not; where few images calibrated them, 80 % may be chance."""
    live = LiveQuality(1000)
    assert live.coverage_p_value(0.1, estimate(400, 500)) < BEYOND_CHANCE
    assert live.coverage_p_value(0.1, estimate(440, 500)) > 0.05
    assert LiveQuality(20).coverage_p_value(0.1, estimate(400, 500)) > 0.05
    assert LiveQuality(None).coverage_p_value(0.1, estimate(400, 500)) < BEYOND_CHANCE


@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_intervals_of_the_calibration_error_hold_the_true_one(gap: float) -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(30):
        live = LiveQuality(None)
        for confidence in 0.55 + 0.4 * generator.random(400):
            live.record(image(confidence=float(confidence)), label=int(generator.random() > confidence - gap))
        ece = live.ece
        assert ece is not None
        held += ece.low <= gap <= ece.high
    assert held >= 25
