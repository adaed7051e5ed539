"""Two versions side by side."""

from __future__ import annotations

import pytest
from rich.console import Console

from model_store.reports.diff import as_json, levels_table, pairs, provenance, provenance_table
from tests.support.stores import two


def test_levels_are_paired_by_name() -> None:
    before, after = two()
    found = {pair.name: (pair.before, pair.after) for pair in pairs(before, after)}
    assert found == {
        "p80": (before.level("p80"), after.level("p80")),
        "x4": (None, after.level("x4")),
        "dense": (before.level("dense"), None),
    }


def test_what_else_differs() -> None:
    before, after = two()
    changed = provenance(before, after)
    assert changed["training.seed"] == (before.training.seed, 7)
    assert changed["default_level"] == ("p80", "x4")
    assert changed["training.hyperparameters.rate"][1] == 0.1
    assert not {"classes", "training.architecture"} & changed.keys()
    assert provenance(before, before) == {}


def test_as_json() -> None:
    before, after = two()
    document = as_json(before, after)
    assert (document["from"], document["to"]) == (before.version, after.version)
    p80, x4, dense = document["levels"]
    assert p80["to"]["accuracy"] - p80["from"]["accuracy"] == pytest.approx(0.01)
    assert (x4["from"], dense["to"]) == (None, None)


def test_the_tables_fit_a_terminal() -> None:
    before, after = two()
    console = Console(width=80)
    with console.capture() as captured:
        console.print(levels_table(before, after), provenance_table(before, after))
    text = captured.get()
    for expected in ("+1.00%", "new", "gone", "training.seed", before.version, after.version):
        assert expected in text
    assert "…" not in text
