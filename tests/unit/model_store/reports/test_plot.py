"""The picture of two versions side by side."""

from __future__ import annotations

from xml.etree import ElementTree

from model_store.reports.plot import as_svg
from tests.support.stores import two

SVG = "{http://www.w3.org/2000/svg}"


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
