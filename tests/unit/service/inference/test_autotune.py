"""The arrangement that a level gets on this machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.inference.artifact import Artifact
from service.inference.autotune import SIZES, autotune
from service.inference.bank import Bank
from service.inference.engine import Engine
from service.scheduling.admission import DEGRADED_DRAWS
from tests.support.engines import KEY


@pytest.mark.parametrize("size", SIZES)
def test_what_is_cut_most_computes_no_draw_for_nothing(size: int) -> None:
    """An overloaded service has no time for draws that no answer takes."""
    fewest = min(draws for draws in DEGRADED_DRAWS if draws is not None)
    assert fewest % size == 0


def test_arrangement(artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor) -> None:
    """One of those that were tried, ready for its first pack, and knowing what draws take and what they share."""
    engine = autotune(artifact, KEY, builders, 2)
    assert engine.bank.size in SIZES
    assert engine.prepared(engine.bank.size)
    assert engine.seconds(2) > engine.seconds(1) > engine.seconds(1, shared=False) > 0
    np.testing.assert_array_equal(engine.draws(images, 4), Engine(Bank(artifact, KEY, 1), builders).draws(images, 4))
