"""Names of levels."""

from __future__ import annotations

import pytest

from pruning.errors import LevelError
from pruning.level import Level, parse_levels


def test_levels_are_sorted_and_dense_is_always_one() -> None:
    """Whatever their order and however often they are named."""
    assert [level.name for level in parse_levels("p95, p50,p80,p50")] == ["dense", "p50", "p80", "p95"]
    assert [level.sparsity for level in parse_levels("p5")] == [0.0, 0.05]


@pytest.mark.parametrize("text", ["p0", "p100", "p-1", "80", "q80", "p8.5", "p080", "P80", "dense "])
def test_other_names_mean_nothing(text: str) -> None:
    if text.strip() == "dense":
        assert Level.parse(text) == Level(0.0, "dense")
    else:
        with pytest.raises(LevelError, match="expected dense, or p and a whole number"):
            Level.parse(text)
