"""Two versions side by side."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

import pytest
from rich.console import Console

from model_store.difference import as_json, levels_table, pairs, provenance, provenance_table
from model_store.manifest import Manifest
from model_store.plot import as_svg
from tests.support.stores import NOON, build_version

SVG = "{http://www.w3.org/2000/svg}"


def two() -> tuple[Manifest, Manifest]:
    """A version, and one in which p80 is better and smaller, x4 is new, dense is gone and the seed is another."""
    before, _ = build_version(b"first")
    after, _ = build_version(b"second!", created=NOON + timedelta(hours=1), levels=("p80", "x4"))
    p80, x4 = after.levels
    better = p80.metrics.model_copy(update={"accuracy": p80.metrics.accuracy + 0.01})
    p80 = p80.model_copy(update={"metrics": better, "multiply_adds": p80.multiply_adds // 2})
    training = after.training.model_copy(update={"seed": 7, "hyperparameters": {"rate": 0.1}})
    return before, after.model_copy(update={"levels": (p80, x4), "training": training})


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


def test_the_picture_has_each_level_where_it_belongs() -> None:
    """Circles of both versions, an arrow where a level is in both; further right is more work, higher is better."""
    before, after = two()
    root = ElementTree.fromstring(as_svg(before, after))
    dots = [(float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in root.iter(f"{SVG}circle")]
    assert len(dots) == 4 + 2  # and the legend's
    (arrow,) = [line for line in root.iter(f"{SVG}line") if line.get("marker-end")]
    assert float(arrow.get("x2", 0)) < float(arrow.get("x1", 0)), "less work"
    assert float(arrow.get("y2", 0)) < float(arrow.get("y1", 0)), "more accurate"
    assert all(0 < x < 760 and 0 < y < 480 for x, y in dots)
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"dense", "p80", "x4", before.version, after.version} <= texts
    ElementTree.fromstring(as_svg(before, before))
