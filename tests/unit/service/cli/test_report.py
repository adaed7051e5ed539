"""What `slimbayes predict` prints: three formats that say the same."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

from tests.support.predicting import documents, predict


def test_three_formats_say_the_same(url: str, digits: list[Path]) -> None:
    asked = (*digits, "--level", "p50", "--samples", "4")
    table, as_json, as_csv = (predict(url, *asked, "--format", kind) for kind in ("table", "json", "csv"))
    rows = list(csv.DictReader(StringIO(as_csv.stdout)))
    found = documents(as_json)
    assert [one["image"] for one in found] == [row["image"] for row in rows] == list(map(str, digits))
    for path, one, row in zip(digits, found, rows, strict=True):
        line = next(line for line in table.stdout.splitlines() if path.name in line)
        assert f"{one['probability']:.3f}" in line
        assert one["decision"] in line
        assert (row["label"], float(row["probability"]), row["level"]) == (one["label"], one["probability"], "p50")
        assert float(row["epistemic"]) == one["uncertainty"]["epistemic"]
        assert row["prediction_set"] == "|".join(one["prediction_set"])
    assert "p50: 7 pictures" in table.stdout
