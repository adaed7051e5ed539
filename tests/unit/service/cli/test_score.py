"""`slimbayes score`: what it writes, what it refuses, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet
from typer.testing import CliRunner

from model_store.signature import SigningKey
from model_store.store import Store
from service.score_cli import app
from service.scoring.output import Output
from service.scoring.plan import ScoringPlan
from tests.support.images import png
from tests.support.keys import make_pair
from tests.support.scoring import DAMAGED, Score, check_complete, rows_in

IMAGES, SHARD = 91, 20


def test_rows_are_what_predict_answers(score: Score, client: TestClient, pictures: Path, tmp_path: Path) -> None:
    """To the last bit, whatever company an image has here and there, however many draws."""
    for number, asked in enumerate(({}, {"samples": 12, "alpha": 0.05, "level": "p90"})):
        output = tmp_path / str(number)
        flags = [each for name, value in asked.items() for each in (f"--{name}", value)]
        result = score(pictures, output, "--shard-size", SHARD, *flags)
        assert result.exit_code == 4, result.output
        rows = check_complete(output, IMAGES, SHARD)
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        for row in rows:
            answer = client.post("/predict", params=asked, content=(pictures / row["id"]).read_bytes(),
                                 headers={"Content-Type": "image/png"})  # fmt: skip
            if row["id"] == DAMAGED:
                assert answer.status_code == 422
                continue
            check_row(row, answer.json())
        assert {row["decision"] for row in rows} == {"accept", "abstain", None}


def check_row(row: dict[str, Any], answer: dict[str, Any]) -> None:
    """A row and an answer say the same."""
    (one,) = answer["predictions"]
    probabilities = {each["label"]: each["probability"] for each in one["probabilities"]}
    expected = {
        **{name: answer[name] for name in ("model", "version", "level")},
        **{name: one[name] for name in ("label", "probability", "prediction_set", "decision", "reason")},
        **one["uncertainty"],
        **one["monte_carlo"],
        "probabilities": [probabilities[label] for label in "0123456789"],
        "std": one["probabilities"][0]["std"],
        "strangeness": one["strangeness"] and one["strangeness"]["value"],
        "error": None,
    }
    assert {name: row[name] for name in expected} == expected


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


def test_files_say_what_made_them(score: Score, pictures: Path, digits_store: Path, tmp_path: Path) -> None:
    """In their metadata, beside the plan; the marker has what came of all."""
    score(pictures, tmp_path / "out", "--shard-size", SHARD)
    version = Store.open(digits_store).resolve("digits")
    plan = json.loads((tmp_path / "out" / "_plan.json").read_bytes())
    for part in (tmp_path / "out").glob("part-*"):
        said = parquet.read_metadata(part).metadata
        assert said[b"slimbayes.model"] == b"digits"
        assert said[b"slimbayes.version"].decode() == plan["version"] == version
        assert said[b"slimbayes.level"].decode() == plan["level"]
        assert said[b"slimbayes.engine"].decode() == plan["engine"]
        assert said[b"slimbayes.classes"].decode().split("\n") == list("0123456789")
    counts = json.loads((tmp_path / "out" / "_SUCCESS").read_bytes())
    rows = rows_in(tmp_path / "out")
    assert counts.pop("error") == sum(row["error"] is not None for row in rows) == 1
    assert counts.pop("accept") == sum(row["decision"] == "accept" for row in rows)
    assert counts == {r: sum(row["reason"] == r for row in rows) for r in {row["reason"] for row in rows} - {None}}


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


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--level", "p50"], "begun with level"),
        (["--samples", "4"], "begun with samples"),
        (["--alpha", "0.05"], "begun with alpha 0.1, not 0.05"),
        (["--shard-size", "30"], "begun with shard_size 20, not 30"),
    ],
)
def test_another_plan_is_refused(
    score: Score, pictures: Path, tmp_path: Path, flags: list[str], says: str, begun: Path
) -> None:
    """It would make half an output of each."""
    shutil.copytree(begun, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = score(pictures, tmp_path / "out", "--shard-size", SHARD, *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture(scope="module")
def begun(score: Score, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output."""
    output = tmp_path_factory.mktemp("begun") / "out"
    score(pictures, output, "--shard-size", SHARD)
    return output


def test_another_input_is_refused(score: Score, pictures: Path, begun: Path, tmp_path: Path) -> None:
    """One picture written anew is enough; the same input elsewhere is the same input."""
    moved = tmp_path / "moved"
    shutil.copytree(pictures, moved)
    assert score(moved, begun, "--shard-size", SHARD).exit_code == 4
    path = moved / "a" / "000.png"
    path.write_bytes(path.read_bytes())
    result = score(moved, begun, "--shard-size", SHARD)
    assert result.exit_code == 1
    assert "the output is of another input" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "there is no such file or folder"),
        (["empty"], "nothing to score: expected pictures or files of Parquet"),
        (["both"], "has pictures and Parquet"),
        (["ftp://host/images"], "cannot be read"),
        (["pictures", "--level", "p99"], "no level 'p99': there is dense, p50, p90"),
        (["pictures", "--model", "cats"], "no model 'cats'"),
        (["pictures", "--version", "x"], "no version or alias 'x'"),
        (["pictures", "--samples", "many"], "a whole number from 1 to 256, or auto"),
        (["pictures", "--alpha", "0.5"], "calibrated for"),
        (["pictures", "--column", "image"], "columns are of Parquet"),
        (["table", "--column", "picture"], "no column 'picture' with images; it has image (binary)"),
        (["table", "--id", "name"], "has no column 'name'"),
        (["broken.parquet"], "cannot be read as Parquet"),
    ],
)
def test_bad_input(
    score: Score, tmp_path: Path, arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what was wrong, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "both", "pictures", "table"):
        (tmp_path / folder).mkdir()
    for folder in ("both", "pictures"):
        (tmp_path / folder / "one.png").write_bytes(png(np.zeros((8, 8), np.uint8)))
    for folder in ("both", "table"):
        parquet.write_table(pa.table({"image": [b""]}), tmp_path / folder / "one.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet")
    result = score(arguments[0], "out", *arguments[1:])
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


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


def test_names_that_are_no_text(score: Score, tmp_path: Path) -> None:
    """File systems take any bytes."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"\xff.png")).write_bytes(png(np.zeros((8, 8), np.uint8)))
    assert score(tmp_path / "in", tmp_path / "out").exit_code == 0
    assert [row["id"] for row in rows_in(tmp_path / "out")] == ["\ufffd.png"]


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


def test_an_output_that_cannot_be_written(score: Score, pictures: Path, tmp_path: Path) -> None:
    """Nor one that somebody else wrote."""
    (tmp_path / "file").write_text("")
    result = score(pictures, tmp_path / "file" / "out")
    assert (result.exit_code, "cannot be" in result.stderr) == (1, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"")
    result = score(pictures, tmp_path / "out")
    assert (result.exit_code, "but no plan" in result.stderr) == (1, True)
    assert (tmp_path / "out" / "part-00000.parquet").read_bytes() == b""


@pytest.mark.parametrize(("missing", "flags"), [("pyarrow", []), ("ray", ["--engine", "ray"])])
def test_a_missing_extra_is_named(
    digits_store: Path, pictures: Path, tmp_path: Path, missing: str, flags: list[str]
) -> None:
    """In one sentence that says what to install."""
    extra = {"pyarrow": "score"}.get(missing, missing)
    command = [str(pictures), str(tmp_path / "out"), "--store", str(digits_store), *flags]
    program = f"import sys; sys.modules[{missing!r}] = None\n"
    program += "from service import console, score_cli\n"
    program += "console.app = lambda **_: score_cli.app()\n"
    program += f"sys.argv = ['slimbayes', *{command!r}]; console.main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.strip().endswith(f"needs the {extra} extra: pip install 'slimbayes[{extra}]'")
