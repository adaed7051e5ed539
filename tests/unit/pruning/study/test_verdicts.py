"""Who wins at a level: by paired differences, with their standard errors, and only where it is clear."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from pruning.level import DENSE, Level
from pruning.study.trial import Trial, TrialResult
from pruning.study.verdicts import standard_error, verdicts

NOISE = np.random.default_rng(0)
X4 = Level.parse("x4")
HARD = NOISE.exponential(1.0, 400)


def result(nlls: np.ndarray) -> TrialResult:
    return TrialResult(0, 0, 0, 0, 0, cast(Any, None), nlls.tolist(), [1] * len(nlls))


def test_a_standard_error_is_that_of_the_mean() -> None:
    means = [NOISE.normal(0, 2, 100).mean() for _ in range(2_000)]
    assert standard_error(NOISE.normal(0, 2, 100_000)) == pytest.approx(2 / math.sqrt(100_000), rel=0.02)
    assert np.std(means) == pytest.approx(standard_error(NOISE.normal(0, 2, 10_000)) * 10, rel=0.1)


def test_images_that_are_hard_for_all_do_not_hide_a_difference() -> None:
    """Differences are of the same images: a tenth of the spread of images, but nearly the same for each."""
    results = {
        Trial("none", "none", DENSE): result(HARD),
        Trial("snr", "channel", X4): result(HARD),
        Trial("random", "channel", X4): result(HARD + 0.15 + NOISE.normal(0, 0.01, 400)),
    }
    (verdict,) = verdicts(results)
    assert verdict.startswith(f"channel x4: snr has the lowest NLL, {HARD.mean():.4f}, and wins")
    assert "random 0.1" in verdict


def test_a_difference_within_two_standard_errors_is_no_lead() -> None:
    results = {
        Trial("snr", "channel", X4): result(HARD),
        Trial("magnitude", "channel", X4): result(HARD + 0.001 + NOISE.normal(0, 0.5, 400) * np.tile([1, -1], 200)),
        Trial("random", "channel", X4): result(HARD + 1),
    }
    (verdict,) = verdicts(results)
    assert "no clear lead over" in verdict
    assert "it beats random" in verdict
    assert "wins" not in verdict


def test_one_trial_alone_has_nobody_to_beat() -> None:
    assert verdicts({Trial("snr", "weight", X4): result(HARD)}) == []
