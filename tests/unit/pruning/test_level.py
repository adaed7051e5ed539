"""Names of levels."""

from __future__ import annotations

import pytest

from pruning.errors import LevelError
from pruning.level import DENSE, Level, chains, parse_levels


def names(levels: list[Level]) -> list[str]:
    return [level.name for level in levels]


def test_levels_are_in_order_and_dense_is_always_one() -> None:
    """Whatever their order and however often they are named: kind by kind, the strongest last."""
    assert names(parse_levels("p95, p50,t300,x4,p80,,t900,p50,x2")) == [
        *("dense", "p50", "p80", "p95", "x2", "x4", "t900", "t300")
    ]
    assert names(parse_levels("")) == ["dense"]


def test_each_kind_is_a_chain_of_its_own() -> None:
    levels = parse_levels("p95,p50,t300,t900,x4")
    assert [names(chain) for chain in chains(levels)] == [["p50", "p95"], ["x4"], ["t900", "t300"]]


def test_auto_is_the_level_that_it_stands_for() -> None:
    assert names(parse_levels("auto,p80", lambda: Level("p", 46))) == ["dense", "p46", "p80"]
    assert names(parse_levels("auto,p46", lambda: Level("p", 46))) == ["dense", "p46"]


@pytest.mark.parametrize("name", ["dense", "p1", "p99", "x2", "x10", "t1", "t12000"])
def test_a_level_is_named_as_it_is_written(name: str) -> None:
    assert Level.parse(f" {name} ").name == name


def test_dense_is_a_level() -> None:
    assert Level.parse("dense") == DENSE


@pytest.mark.parametrize(
    "text", ["p0", "p100", "p-1", "80", "q80", "p8.5", "p080", "P80", "x1", "x0", "x2.5", "t0", "t"]
)
def test_other_names_mean_nothing(text: str) -> None:
    with pytest.raises(LevelError, match="expected dense, p and a per cent from 1 to 99"):
        Level.parse(text)
