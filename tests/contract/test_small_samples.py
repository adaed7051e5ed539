"""Answers of a real level against very many draws: intervals hold the draws, standard errors the mean.

Each key of draws gives other answers to the same images; what all draws of all keys say is the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.inference.sampling_error import ALMOST_CERTAIN, Answer, answers, figures
from model_store.store import Store
from service.inference.uncertainty import MIN_INTERVAL_DRAWS

KEYS, IMAGES = 20, 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["dense", "p90"])
def answered(request: pytest.FixtureRequest, digits_store: Path) -> list[Answer]:
    """To some digits, with early stopping and with 20 draws, for each key."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    level = manifest.level(request.param)
    assert level is not None
    images_NHWC = (load_digits().images[:IMAGES, :, :, None] * 255 / 16).astype(np.uint8)
    return answers(store, manifest, level, images_NHWC, KEYS, fixed=[MIN_INTERVAL_DRAWS])


def test_few_draws_have_no_interval(answered: list[Answer]) -> None:
    few = [each for each in answered if each.result.draws < MIN_INTERVAL_DRAWS]
    assert len(few) > len(answered) / 4
    assert {each.interval for each in few} == {(None, None)}


def test_intervals_hold_the_draws(answered: list[Answer]) -> None:
    """Nine in ten of all, of the class that is most probable."""
    shares = [share for each in answered if (share := each.share_in_interval) is not None]
    assert len(shares) > len(answered) / 2
    assert 0.85 < np.mean(shares) < 0.95


def test_standard_errors_hold_the_mean(answered: list[Answer]) -> None:
    """Within 1.96 of them is the probability under very many draws, about as often as of a normal distribution.

    Less often where the rule stopped early, since draws that agree by chance stop it, and where a draw in hundreds is
    far from the others: it is not among few.
    """
    assert sum(each.result.confidence < ALMOST_CERTAIN for each in answered) > 20 * KEYS
    found = figures(answered)
    assert found["held"] is not None
    assert found["held_early"] is not None
    assert found["held_uncertain"] is not None
    assert 0.87 < found["held_uncertain"] < 0.97
    assert found["held_early"] > 0.6
    assert found["held"] > 0.6
