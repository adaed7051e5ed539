"""Budgets of scale pruning, as they are written."""

from __future__ import annotations

import pytest

from pruning.errors import LevelError
from pruning.level import DENSE, Level
from pruning.scale_budgets import ScaleBudgets

P80, X4 = Level("p", 80), Level("x", 4)


def test_one_for_all() -> None:
    """But the dense level, which others are compared with."""
    budgets = ScaleBudgets.parse("0.05")
    assert (budgets.of(P80), budgets.of(X4), budgets.of(DENSE)) == (0.05, 0.05, 0.0)


def test_each_its_own() -> None:
    """Levels without a budget keep their scales."""
    budgets = ScaleBudgets.parse("p80=0.04, x4 = 0.07")
    budgets.check([P80, X4])
    assert (budgets.of(P80), budgets.of(X4), budgets.of(Level("p", 90))) == (0.04, 0.07, 0.0)
    with pytest.raises(LevelError, match="for x4, which is none of the levels: p80"):
        budgets.check([P80])


@pytest.mark.parametrize("text", ["", "much", "-0.1", "0.9", "nan", "p80=", "p80=0.1,0.2", "half=0.1", "p80=0.1,"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(LevelError, match=r"is no (scale budget|level): expected"):
        ScaleBudgets.parse(text)
