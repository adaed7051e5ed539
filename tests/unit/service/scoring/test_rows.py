"""Rows of a scoring: what `/predict` answers, and what made them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from pyarrow import parquet

from model_store.store import Store
from tests.support.images import png
from tests.support.scoring import DAMAGED, IMAGES, SHARD, Score, check_complete, rows_in


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
        "ood": one["ood"] and one["ood"]["value"],
        "error": None,
    }
    assert {name: row[name] for name in expected} == expected


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


def test_names_that_are_no_text(score: Score, tmp_path: Path) -> None:
    """File systems take any bytes; two files never have one name, nor does one that looks like what is written."""
    (tmp_path / "in").mkdir()
    for name in (b"\xff.png", b"\xfe.png", rb"\xff.png"):
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(png(np.zeros((8, 8), np.uint8)))
    (tmp_path / "in" / os.fsdecode(b"\xfd.png")).write_bytes(b"no picture")
    assert score(tmp_path / "in", tmp_path / "out").exit_code == 4
    assert {row["id"] for row in rows_in(tmp_path / "out")} == {rf"\xf{at}.png" for at in "def"} | {r"\\xff.png"}
