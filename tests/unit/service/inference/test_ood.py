"""Scores of strangeness: those that the threshold was chosen by, in another library."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model_store.manifest import Score
from pruning.evaluation import ood as chosen_by
from service.inference.ood import SCORES, ood_score
from service.inference.uncertainty import Draws

DRAWS = arrays(
    np.float32,
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.floats(-200, 200, width=32),
)


def test_there_are_the_scores_that_a_manifest_may_name() -> None:
    assert SCORES.keys() == chosen_by.SCORES.keys()


@pytest.mark.parametrize("score", SCORES)
@given(logits=DRAWS, temperature=st.floats(0.1, 10))
def test_they_are_those_of_calibration(score: Score, logits: np.ndarray, temperature: float) -> None:
    """For any logits [S, N, K]: as the mean of parts over draws, and of one image by itself."""
    expected = chosen_by.SCORES[score](torch.from_numpy(logits), temperature).numpy()
    draws = Draws.from_logits(logits, temperature)
    np.testing.assert_allclose(SCORES[score](draws).mean(0), expected, rtol=1e-9, atol=1e-9)
    together = ood_score(draws, score)
    np.testing.assert_allclose(together, expected, rtol=1e-9, atol=1e-9)
    for image, value in enumerate(together):
        assert ood_score(Draws.from_logits(logits[:, [image]], temperature), score) == value


def test_known_values() -> None:
    """Two draws, each sure of another class, with logits of 500."""
    draws = Draws.from_logits(np.array([[[500.0, 0.0]], [[0.0, 500.0]]], np.float32), 2.0)
    found = {score: ood_score(draws, score).item() for score in SCORES}
    assert found == pytest.approx(
        {"mutual_information": log(2), "entropy": log(2), "one_minus_confidence": 0.5, "energy": -250.0}
    )


@pytest.mark.parametrize("score", SCORES)
def test_a_network_that_overflowed_is_not_called_anything(score: Score) -> None:
    """What is not a number is above no threshold."""
    draws = Draws.from_logits(np.full((4, 1, 3), np.nan, np.float32), 1.0)
    assert not ood_score(draws, score) > -1e9
