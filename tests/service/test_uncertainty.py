"""Draws to probabilities and entropies: laws that hold for any draws, and answers known by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.uncertainty import predictive

DRAWS = arrays(
    np.float32,
    array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6),
    elements=st.floats(-50, 50, width=32),
)


@given(DRAWS, st.floats(0.1, 10))
def test_laws(logits: np.ndarray, temperature: float) -> None:
    """Probabilities sum to one, total = aleatoric + epistemic, and no part is below zero or above ln K."""
    summary = predictive(logits, temperature)
    np.testing.assert_allclose(summary.mean.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(summary.total, summary.aleatoric + summary.epistemic, atol=1e-12)
    assert (summary.epistemic >= 0).all()
    assert (summary.aleatoric >= 0).all()
    assert (summary.total <= log(logits.shape[2]) + 1e-12).all()
    assert ((summary.low <= summary.high) & (summary.low >= 0) & (summary.high <= 1)).all()
    top = summary.mean.argmax(1)
    spread = summary.std[np.arange(len(top)), top]
    np.testing.assert_allclose(summary.standard_error, spread / sqrt(len(logits)), atol=1e-9)


def test_draws_that_agree_have_no_epistemic_uncertainty() -> None:
    """All uncertainty of equal draws is aleatoric."""
    summary = predictive(np.zeros((5, 1, 4), np.float32), 1.0)
    assert summary.aleatoric[0] == pytest.approx(log(4))
    assert summary.epistemic[0] == 0


def test_sure_draws_that_disagree_have_nothing_else() -> None:
    """Two draws, each sure of another class: one bit, all of it epistemic."""
    summary = predictive(np.array([[[500.0, 0.0]], [[0.0, 500.0]]], np.float32), 1.0)
    assert summary.epistemic[0] == pytest.approx(log(2))
    assert summary.aleatoric[0] == pytest.approx(0, abs=1e-12)
    assert summary.mean[0].tolist() == [0.5, 0.5]
    assert summary.standard_error[0] == pytest.approx(0.5)


def test_temperature_divides_logits() -> None:
    """T = 2 on logits is T = 1 on half of them."""
    logits = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    np.testing.assert_allclose(predictive(logits, 2.0).mean, predictive(logits / 2, 1.0).mean)
