"""Tables of a study: a row for every cell, in each form."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.studies import CELLS, table


def test_every_cell_has_a_row_in_each_form(studied: Path) -> None:
    rows = table(studied)
    names = ["dense" if r["level"] == "dense" else f"{r['criterion']}-{r['granularity']}-{r['level']}" for r in rows]
    assert names == CELLS
    with (studied / "table.csv").open() as file:
        assert [row["level"] for row in csv.DictReader(file)] == [row["level"] for row in rows]
    table_md, verdicts_md = (studied / "table.md").read_text().split("\n\n")
    assert len(table_md.splitlines()) == len(CELLS) + 2
    assert len(verdicts_md.splitlines()) == 5  # p50 and p80 of both granularities, and x2
    pictures = {"accuracy.png", "nll.png", "ece.png"} | {
        f"ood_auroc_{name}.png" for name in ("noise", "blank", "crops")
    }
    assert {path.name for path in studied.glob("*.png")} == pictures


def test_rows_say_what_was_removed(studied: Path) -> None:
    """Shares are met exactly by weights and nearly by channels; half the multiply-adds are half; none is free."""
    rows = {(r["criterion"], r["granularity"], r["level"]): r for r in table(studied)}
    dense = rows["none", "none", "dense"]
    assert rows["snr", "weight", "p80"]["sparsity"] == pytest.approx(0.8, abs=1e-3)
    assert rows["snr", "channel", "p80"]["sparsity"] == pytest.approx(0.8, abs=0.08)
    assert rows["snr", "channel", "x2"]["multiply_adds"] <= dense["multiply_adds"] / 2  # type: ignore[operator]
    assert rows["snr", "weight", "p80"]["bytes"] < 0.65 * dense["bytes"]  # type: ignore[operator]
    assert rows["snr", "weight", "p80"]["accuracy"] > rows["random", "weight", "p80"]["accuracy"]  # type: ignore[operator]
    assert rows["bprune", "weight", "p80"]["accuracy"] < 0.5  # type: ignore[operator]
