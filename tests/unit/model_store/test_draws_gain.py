"""What is said of draws beside their mean: by the gain, its standard error, and how much that could hide."""

from __future__ import annotations

import pytest

from model_store.draws_gain import DrawsGain, judge


@pytest.mark.parametrize(
    ("gain", "error", "judged"),
    [
        (0.0064, 0.0011, DrawsGain.CLEAR),
        (0.0005, 0.0020, DrawsGain.NOTHING),
        (0.0, 0.0, DrawsGain.NOTHING),
        (-0.019, 0.005, DrawsGain.NOTHING),
        (-0.3, 0.2, DrawsGain.NOTHING),
        (0.186, 0.108, DrawsGain.UNCLEAR),
        (0.186, 0.05, DrawsGain.CLEAR),
    ],
)
def test_a_gain_is_judged_by_its_error(gain: float, error: float, judged: DrawsGain) -> None:
    assert judge(gain, error) is judged
    assert judged.worth_drawing == (judged is not DrawsGain.NOTHING)
