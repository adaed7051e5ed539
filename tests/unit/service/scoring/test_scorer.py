"""A scoring: what cannot be decoded has a row, and what was interrupted goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from model_store.signature import SigningKey
from model_store.store import Store
from service.score_cli import app
from service.scoring.output import Output
from service.scoring.plan import ScoringPlan
from tests.support.containers import IMAGES
from tests.support.images import png
from tests.support.keys import make_pair
from tests.support.scoring import SHARD, Score, check_complete


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


def test_going_on(score: Score, pictures: Path, tmp_path: Path) -> None:
    """What is there stays as it is, what is missing is made as it was, and what killed processes left is removed."""
    output = tmp_path / "out"
    score(pictures, output, "--shard-size", SHARD)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    for name in ("part-00002.parquet", "part-00004.parquet", "_SUCCESS"):
        (output / name).unlink()
    (output / ".write-1234").write_bytes(b"half")
    result = score(pictures, output, "--shard-size", SHARD, "--batch", "7")
    assert result.exit_code == 4, result.output
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    made = {name for name in after if after[name] != before[name]}
    assert made == {"part-00002.parquet", "part-00004.parquet", "_SUCCESS"}
    assert "31 images in" in result.stderr
    assert score(pictures, output, "--shard-size", SHARD).stdout == result.stdout


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


def test_only_what_is_trusted_is_scored(
    score: Score, digits_store: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys are given, in whatever folder, a version that none of them signed is refused."""
    (tmp_path / "keys, mine").mkdir()
    monkeypatch.chdir(tmp_path / "keys, mine")
    pair = make_pair(Path(), "key")
    result = score(pictures, tmp_path / "out", "--trusted-key", pair.public)
    assert (result.exit_code, "not signed" in result.stderr) == (1, True), result.stderr
    assert not (tmp_path / "out").exists()
    store = Store.open(shutil.copytree(digits_store, tmp_path / "store"))
    manifest = store.manifest("digits", store.resolve("digits"))
    store.attach(manifest, SigningKey.read(pair.private).sign(manifest))
    arguments = [pictures, tmp_path / "out", "--trusted-key", pair.public, "--store", store.url, "--threads", 1]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 4, result.output
    check_complete(tmp_path / "out", IMAGES, IMAGES)
