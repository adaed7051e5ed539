"""Draws to probabilities and entropies: laws that hold for any draws, and answers known by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import softmax
from scipy.stats import entropy

from service.inference.uncertainty import Draws, Predictive

DRAWS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9),
    elements=st.floats(-50, 50, width=32),
)


def of_one(logits_SK: np.ndarray, temperature: float) -> Predictive:
    """Of a single image."""
    return Predictive.from_draws(Draws.from_logits(logits_SK[:, None], temperature))


@given(DRAWS, st.floats(0.1, 10))
def test_laws(logits: np.ndarray, temperature: float) -> None:
    """Probabilities sum to one, total = aleatoric + epistemic, and no part is below zero or above ln K."""
    summary = of_one(logits, temperature)
    std, low, high = (each[0] for each in summary.spread)
    p = softmax(logits.astype(np.float64) / temperature, -1)
    assert summary.mean.sum() == pytest.approx(1, abs=1e-12)
    assert summary.total == pytest.approx(summary.aleatoric + summary.epistemic, abs=1e-12)
    assert summary.aleatoric == pytest.approx(entropy(p, axis=-1).mean(), abs=1e-12)
    assert summary.epistemic >= 0
    assert summary.aleatoric >= 0
    assert summary.total <= log(logits.shape[1]) + 1e-12
    np.testing.assert_allclose(std, p.std(0, ddof=1))
    np.testing.assert_allclose((low, high), np.quantile(p, (0.05, 0.95), axis=0), atol=1e-12)


def test_standard_error_knows_of_pairs() -> None:
    """What is linear in the noise cancels in antithetic pairs; two draws, or an odd number, are taken as they are."""
    up, down = [2.0, 0.0], [-2.0, 0.0]
    assert of_one(np.array([up, down, up, down], np.float32), 1.0).standard_error == pytest.approx(0)
    spread = float(np.std(softmax(np.array([up, down]), -1)[:, 0], ddof=1))
    assert of_one(np.array([up, down], np.float32), 1.0).standard_error == pytest.approx(spread / sqrt(2))
    assert of_one(np.array([up, down, up], np.float32), 1.0).standard_error == pytest.approx(
        spread * sqrt(2 / 3) / sqrt(3)
    )
    assert of_one(np.array([up], np.float32), 1.0).standard_error is None


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
    assert summary.standard_error == pytest.approx(0.5)


def test_temperature_divides_logits() -> None:
    """T = 2 on logits is T = 1 on half of them."""
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(of_one(logits, 2.0).mean, of_one(logits / 2, 1.0).mean)


@given(arrays(np.float32, (16, 5, 3), elements=st.floats(-50, 50, width=32)))
def test_company_changes_no_bit(logits: np.ndarray) -> None:
    """Five images together are what each is by itself."""
    together = Predictive.from_draws(Draws.from_logits(logits, 1.3))
    for number in range(5):
        alone = of_one(logits[:, number], 1.3)
        for name in ("mean", "total", "aleatoric", "epistemic", "standard_error"):
            np.testing.assert_array_equal(getattr(together, name)[number], getattr(alone, name)[0])
        np.testing.assert_array_equal(together.spread[:, number], alone.spread[:, 0])


@given(arrays(np.float32, (8, 5, 3), elements=st.floats(-50, 50, width=32)), st.sets(st.integers(0, 4), min_size=1))
def test_some_images_of_a_summary(logits: np.ndarray, images: set[int]) -> None:
    """Taking images out of a summary gives the summary of these alone, bit for bit."""
    chosen = sorted(images)
    taken, alone = Draws.from_logits(logits, 1.3).take(chosen), Draws.from_logits(logits[:, chosen], 1.3)
    for name in ("p", "entropies", "log_sums", "mean", "surprise", "cross_entropies"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(alone, name))


def test_standard_error_of_a_mixture_is_that_within_its_members() -> None:
    """Over 4,000 images, its square is the variance of the mean over other draws; members differ by much more."""
    generator = np.random.default_rng(0)
    apart = generator.normal(0, 2, (4, 1, 3))
    drawn = generator.normal(0, 0.3, (8, 4_000, 3)) + np.tile(apart, (2, 1, 1))
    logits = drawn[[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]].astype(np.float32)
    summary = Predictive.from_draws(Draws.from_logits(logits, 1.0, 4))
    top = summary.mean.argmax(1)
    assert summary.standard_error is not None
    most = np.bincount(top).argmax()
    chosen = top == most
    expected = summary.mean[chosen, most].var(ddof=1)
    assert np.square(summary.standard_error[chosen]).mean() == pytest.approx(expected, rel=0.1)
    blind = Predictive.from_draws(Draws.from_logits(logits, 1.0))
    assert blind.standard_error is not None
    assert blind.standard_error.mean() > 1.5 * summary.standard_error.mean()
