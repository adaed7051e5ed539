"""The bank: draws in antithetic pairs, a function of their key, whatever the blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.inference.artifact import Artifact
from service.inference.autotune import SIZES
from service.inference.bank import Bank
from service.inference.engine import Engine
from tests.support.engines import KEY, plain


@pytest.mark.parametrize("size", SIZES)
def test_draws_do_not_depend_on_blocks(
    artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor, size: int
) -> None:
    """Logits are those of the whole graph under each draw, the same bits in every block; few samples begin more."""
    engine = Engine(Bank(artifact, KEY, size), builders)
    logits = engine.draws(images, 7)
    np.testing.assert_array_equal(logits, Engine(Bank(artifact, KEY, 1), builders).draws(images, 7))
    single = np.stack([plain(artifact, engine.bank.weights(draw), images) for draw in range(7)])
    assert logits.shape == (7, 4, 10)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, single, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(engine.draws(images, 2), logits[:2])
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_bank_grows_once_under_many_threads(
    artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor
) -> None:
    """Concurrent requests share one bank."""
    bank = Bank(artifact, KEY, 2)
    engine = Engine(bank, builders)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda samples: engine.draws(images, samples), [3, 8, 5, 8, 2, 8]))
    assert len(bank.blocks) == 4
    assert bank.nbytes > 8 * sum(weight.mean.nbytes for weight in artifact.weights)
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[1][: len(answer)])
