"""Intervals of shares and sizes of calibration sets, against known answers and the laws that define them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from model_store.small_samples import (
    ALPHAS,
    DrawsGain,
    accuracy_text,
    images_needed,
    interval_text,
    judge,
    no_better_than,
    wilson_interval,
)


@given(st.integers(1, 5_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_interval_is_that_of_an_independent_implementation(seen: tuple[int, int]) -> None:
    right, count = seen
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
    low, high = wilson_interval(right / count, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1


@pytest.mark.parametrize("truth", [0.3, 0.5, 0.8, 0.93])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(truth: float) -> None:
    """Over all that can be seen of 40 images."""
    held = sum(
        binom.pmf(right, 40, truth)
        for right in range(41)
        if wilson_interval(right / 40, 40)[0] <= truth <= wilson_interval(right / 40, 40)[1]
    )
    assert held == pytest.approx(0.95, abs=0.03)


def test_intervals_are_told_with_their_images() -> None:
    assert interval_text(1.0, 12) == "75.8-100.0%"
    assert accuracy_text(0.75, 12) == "75.00% (46.8-91.1% on 12 images)"
    assert accuracy_text(0.75, None) == "75.00%"


@pytest.mark.parametrize("alpha", ALPHAS)
def test_sets_take_as_many_images_as_their_rank(alpha: float) -> None:
    """With one fewer, the rank is beyond the last score."""
    needed = images_needed(alpha)
    assert math.ceil((needed + 1) * (1 - alpha) - 1e-9) <= needed
    assert math.ceil(needed * (1 - alpha) - 1e-9) > needed - 1
    assert {0.1: 9, 0.05: 19, 0.01: 99}[alpha] == needed


def test_no_better_than_one_class() -> None:
    """Eight of twelve may be luck where half of them are of one class, eleven are not; 60 % of 1,000 neither."""
    assert no_better_than(0.5, 8 / 12, 12)
    assert not no_better_than(0.5, 11 / 12, 12)
    assert not no_better_than(0.5, 0.6, 1_000)
    assert no_better_than(0.5, 0.28, 1_000)


@pytest.mark.parametrize(
    ("gain", "error", "judged"),
    [
        (0.0064, 0.0011, DrawsGain.CLEAR),
        (0.0005, 0.0020, DrawsGain.NOTHING),
        (0.0, 0.0, DrawsGain.NOTHING),
        (-0.019, 0.005, DrawsGain.NOTHING),
        (-0.5, 0.2, DrawsGain.NOTHING),
        (-0.001, 0.05, DrawsGain.UNCLEAR),
        (0.0001, 0.0049, DrawsGain.NOTHING),
        (0.004, 0.004, DrawsGain.UNCLEAR),
        (0.186, 0.108, DrawsGain.UNCLEAR),
        (0.186, 0.05, DrawsGain.CLEAR),
    ],
)
def test_a_gain_is_judged_by_its_error(gain: float, error: float, judged: DrawsGain) -> None:
    assert judge(gain, error) is judged
    assert judged.worth_drawing == (judged is not DrawsGain.NOTHING)
