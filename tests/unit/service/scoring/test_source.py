"""Inputs of a scoring: what cannot be decoded has a row, and what vanishes meanwhile is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.scoring.config import ScoringPlan
from service.scoring.sink import Output
from tests.support.images import png
from tests.support.scoring import Score, check_complete


def test_what_cannot_be_decoded_has_a_row(score: Score, pixels: np.ndarray, tmp_path: Path) -> None:
    """It says why; everything else is scored, everything is counted, and the exit status tells."""
    good = png(pixels[0, :, :, 0])
    bad = {"cut": good[:60], "empty": b"", "large": png(np.zeros((64, 64), np.uint8)), "text": b"no picture"}
    images = [good, *bad.values(), None, good]
    parquet.write_table(pa.table({"image": images, "name": ["a", *bad, "null", None]}), tmp_path / "in.parquet")
    result = score(tmp_path / "in.parquet", tmp_path / "out", "--id", "name", "--max-pixels", "1000")
    assert result.exit_code == 4, result.output
    assert "7 images: 2 accepted, 0 abstained, 5 errors" in result.stdout
    rows = check_complete(tmp_path / "out", 7, 7)
    assert [row["id"] for row in rows] == ["a", *bad, "null", "in.parquet#6"]
    assert [row["error"] is None for row in rows] == [True, *[False] * 5, True]
    said = {row["id"]: row["error"] for row in rows}
    for name, says in (("cut", "damaged or cut short"), ("empty", "is empty"), ("large", "64 x 64 pixels"),
                       ("text", "not a picture"), ("null", "no image in this row")):  # fmt: skip
        assert says in said[name]
    assert all(row["label"] is row["draws"] is row["decision"] is None for row in rows[1:6])
    assert {**rows[0], "row": 0, "id": ""} == {**rows[6], "row": 0, "id": ""}


def test_input_that_shrinks_meanwhile(score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the run, and no part of it is written."""
    parquet.write_table(pa.table({"image": [png(np.zeros((8, 8), np.uint8))] * 9}), tmp_path / "in.parquet")
    begin = Output.begin

    def begin_and_shrink(output: Output, plan: ScoringPlan) -> bool:
        parquet.write_table(pa.table({"image": [b""] * 3}), tmp_path / "in.parquet")
        return begin(output, plan)

    monkeypatch.setattr(Output, "begin", begin_and_shrink)
    result = score(tmp_path / "in.parquet", tmp_path / "out")
    assert (result.exit_code, "fewer images than it had: 6" in result.stderr) == (1, True), result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_plan.json"]
