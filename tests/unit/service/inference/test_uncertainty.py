"""Draws to probabilities and entropies: laws that hold for any draws, and answers known by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import softmax
from scipy.stats import entropy, norm
from scipy.stats import t as student

from service.api import schemas
from service.inference.early_stopping import CHECKPOINTS
from service.inference.uncertainty import INTERVAL, MIN_INTERVAL_DRAWS, Draws, Predictive, student_factor

DRAWS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9),
    elements=st.floats(-50, 50, width=32),
)
MANY = arrays(np.float32, st.tuples(st.integers(5, 40), st.just(3)), elements=st.floats(-50, 50, width=32))


def of_one(logits_SK: np.ndarray, temperature: float, first: int | None = None) -> Predictive:
    """Of a single image."""
    return Predictive.from_draws(Draws.from_logits(logits_SK[:, None], temperature), first)


@given(DRAWS, st.floats(0.1, 10))
def test_laws(logits: np.ndarray, temperature: float) -> None:
    """Probabilities sum to one, total = aleatoric + epistemic, and no part is below zero or above ln K."""
    summary = of_one(logits, temperature)
    p = softmax(logits.astype(np.float64) / temperature, -1)
    assert summary.mean.sum() == pytest.approx(1, abs=1e-12)
    assert summary.total == pytest.approx(summary.aleatoric + summary.epistemic, abs=1e-12)
    assert summary.aleatoric == pytest.approx(entropy(p, axis=-1).mean(), abs=1e-12)
    assert summary.epistemic >= 0
    assert summary.aleatoric >= 0
    assert summary.total <= log(logits.shape[1]) + 1e-12
    np.testing.assert_allclose(summary.std[0], p.std(0, ddof=1))


@given(MANY)
def test_intervals(logits: np.ndarray) -> None:
    """Quantiles as Weibull placed them; none from few draws."""
    summary = of_one(logits, 1.0)
    assert (summary.interval is None) == (len(logits) < 20)
    if summary.interval is not None:
        expected = np.quantile(summary.draws.p[:, 0], (0.05, 0.95), axis=0, method="weibull")
        np.testing.assert_allclose(summary.interval[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("draws", [20, 21, 32, 100])
def test_intervals_hold_nine_draws_in_ten(draws: int) -> None:
    """On average, of independent draws of any continuous distribution, from the smallest number that has one on."""
    p_S2000 = np.sort(np.random.default_rng(0).random((draws, 2000)), 0)
    logits_SNK = np.stack([np.log(p_S2000), np.log1p(-p_S2000)], -1).astype(np.float32)
    interval_2NK = Predictive.from_draws(Draws.from_logits(logits_SNK, 1.0)).interval
    assert interval_2NK is not None
    low_N, high_N = interval_2NK[:, :, 0]  # of uniform draws: the interval's length is what it holds
    assert (high_N - low_N).mean() == pytest.approx(0.9, abs=0.005)
    assert low_N.mean() == pytest.approx(0.05, abs=0.005)


@given(MANY)
def test_spread_of_the_first_block(logits: np.ndarray) -> None:
    """Where draws decide on their number, spread and disagreement are of the first; the probabilities are of all."""
    summary, block, whole = of_one(logits, 1.3, 4), of_one(logits[:4], 1.3), of_one(logits, 1.3)
    np.testing.assert_array_equal(summary.std, block.std)
    np.testing.assert_array_equal(summary.mean, whole.mean)
    assert summary.total == whole.total
    assert summary.epistemic == min(block.epistemic, whole.total)
    assert summary.total == pytest.approx(summary.aleatoric + summary.epistemic, abs=1e-12)
    assert summary.aleatoric >= 0
    assert summary.standard_error == whole.standard_error


def test_a_rule_that_looks_at_draws_does_not_shrink_the_spread() -> None:
    """Stopped where draws agree, the spread of all of them is too small, that of the first block is not."""
    rng = np.random.default_rng(0)
    p_SN = 0.5 + 0.1 * rng.uniform(-1, 1, (16, 4000))
    logits_SNK = np.stack([np.log(p_SN), np.log1p(-p_SN)], -1).astype(np.float32)
    four_N = Predictive.from_draws(Draws.from_logits(logits_SNK[:4], 1.0)).std[:, 0]
    stopped_N = four_N < np.median(four_N)
    rest = Draws.from_logits(logits_SNK[:, ~stopped_N], 1.0)
    var, few_N = 0.1**2 / 3, four_N[stopped_N]
    naive = np.concatenate([few_N, Predictive.from_draws(rest).std[:, 0]])
    ours = np.concatenate([few_N, Predictive.from_draws(rest, 4).std[:, 0]])
    assert (naive**2).mean() < 0.9 * var
    assert (ours**2).mean() == pytest.approx(var, rel=0.03)


def test_standard_error_knows_of_pairs() -> None:
    """What is linear in the noise cancels in antithetic pairs; two draws, or an odd number, are taken as they are."""
    up, down = [2.0, 0.0], [-2.0, 0.0]
    assert of_one(np.array([up, down, up, down], np.float32), 1.0).standard_error == pytest.approx(0)
    spread = float(np.std(softmax(np.array([up, down]), -1)[:, 0], ddof=1))
    two, three = spread / sqrt(2), spread * sqrt(2 / 3) / sqrt(3)
    assert of_one(np.array([up, down], np.float32), 1.0).standard_error == pytest.approx(student_factor(1) * two)
    odd = of_one(np.array([up, down, up], np.float32), 1.0).standard_error
    assert odd == pytest.approx(student_factor(2) * three)
    assert of_one(np.array([up], np.float32), 1.0).standard_error is None


@pytest.mark.parametrize("freedom", [*range(1, 33), 63, 511, 2000])
def test_student_factor(freedom: int) -> None:
    """Student's quantile over the normal one."""
    assert student_factor(freedom) == pytest.approx(student.ppf(0.975, freedom) / norm.ppf(0.975), rel=1e-3)


@pytest.mark.parametrize("draws", [2, 3, 4, 8, 32])
def test_standard_errors_hold_the_mean(draws: int) -> None:
    """±1.96 of them, in 95 % of cases, whatever their degrees of freedom, where means of pairs are about normal."""
    rng, count = np.random.default_rng(1), 8000
    odd_SN = rng.normal(0, 0.3, ((draws + 1) // 2, count)).repeat(2, 0)[:draws] * np.resize([[1], [-1]], (draws, 1))
    noise_SN = rng.normal(0, 0.02, (draws, count))
    if draws < 4 or draws % 2:  # then taken for independent ones
        odd_SN[:] = 0
    p_SN = 0.5 + 0.1 * (odd_SN + noise_SN)
    logits_SNK = np.stack([np.log(p_SN), np.log1p(-p_SN)], -1).astype(np.float32)
    summary = Predictive.from_draws(Draws.from_logits(logits_SNK, 1.0))
    assert summary.standard_error is not None
    error_N = np.abs(summary.mean[:, 0] - 0.5)
    assert (error_N <= 1.96 * summary.standard_error).mean() == pytest.approx(0.95, abs=0.01)


def test_draws_that_agree_have_no_epistemic_uncertainty() -> None:
    """All uncertainty of equal draws is aleatoric."""
    summary = of_one(np.zeros((5, 4), np.float32), 1.0)
    assert summary.aleatoric == pytest.approx(log(4))
    assert summary.epistemic == 0


def test_sure_draws_that_disagree_have_nothing_else() -> None:
    """Two draws, each sure of another class: one bit, all of it epistemic."""
    summary = of_one(np.array([[500.0, 0.0], [0.0, 500.0]], np.float32), 1.0)
    assert summary.epistemic == pytest.approx(log(2))
    assert summary.aleatoric == pytest.approx(0, abs=1e-12)
    assert summary.mean.tolist() == [[0.5, 0.5]]
    assert summary.standard_error == pytest.approx(0.5 * student_factor(1))


def test_temperature_divides_logits() -> None:
    """T = 2 on logits is T = 1 on half of them."""
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(of_one(logits, 2.0).mean, of_one(logits / 2, 1.0).mean)


@given(arrays(np.float32, (24, 5, 3), elements=st.floats(-50, 50, width=32)), st.sampled_from([None, 4]))
def test_company_changes_no_bit(logits: np.ndarray, first: int | None) -> None:
    """Five images together are what each is by itself."""
    together = Predictive.from_draws(Draws.from_logits(logits, 1.3), first)
    assert together.interval is not None
    for number in range(5):
        alone = of_one(logits[:, number], 1.3, first)
        assert alone.interval is not None
        for name in ("mean", "std", "total", "aleatoric", "epistemic", "standard_error"):
            np.testing.assert_array_equal(getattr(together, name)[number], getattr(alone, name)[0])
        np.testing.assert_array_equal(together.interval[:, number], alone.interval[:, 0])


def test_numbers_in_the_descriptions() -> None:
    """The API's documents say from how many draws a spread or an interval is."""
    assert f"of the first {CHECKPOINTS[0]}," in schemas.BLOCK
    assert f"fewer than {MIN_INTERVAL_DRAWS}" in schemas.INTERVAL
    assert f"hold {INTERVAL[1] - INTERVAL[0]:.0%}".replace("%", " %") in schemas.INTERVAL


@given(arrays(np.float32, (8, 5, 3), elements=st.floats(-50, 50, width=32)), st.sets(st.integers(0, 4), min_size=1))
def test_some_images_of_a_summary(logits: np.ndarray, images: set[int]) -> None:
    """Taking images out of a summary gives the summary of these alone, bit for bit."""
    chosen = sorted(images)
    taken, alone = Draws.from_logits(logits, 1.3).take(chosen), Draws.from_logits(logits[:, chosen], 1.3)
    for name in ("p", "entropies", "log_sums", "mean", "surprise", "cross_entropies"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(alone, name))
