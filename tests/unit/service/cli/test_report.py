"""What `slimbayes predict` prints: three formats that say the same."""

from __future__ import annotations

import csv
import json
import os
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest

from model_store.text import UNPRINTABLE
from service.api.routes.predict import EXAMPLE
from service.api.schemas import Answer
from service.cli.bulk_predict import Outcome
from service.cli.report import Format, report
from tests.support.predicting import documents, predict


def test_names_that_are_no_text_are_printed(url: str, digits: list[Path], tmp_path: Path) -> None:
    """File systems take any bytes: pictures are answered or refused under a name that can be printed."""
    for name in (b"caf\xe9.png", rb"caf\xe9.png", b"a\x1b[31m.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(digits[0].read_bytes())
    (tmp_path / os.fsdecode(b"bad\xff.png")).write_bytes(b"no picture")
    for kind in ("table", "json", "csv"):
        asked = predict(url, tmp_path, "--format", kind)
        assert asked.exit_code == 1
        assert r"bad\xff.png: " in asked.stderr
        assert r"caf\xe9.png" in asked.stdout.replace("\\\\", "\\")
        assert "\x1b" not in asked.stderr
    found = [one["image"] for one in documents(predict(url, tmp_path, "--format", "json"))]
    assert len({*found}) == 4
    missing = predict(url, tmp_path / os.fsdecode(b"gone\xff.png"))
    assert missing.exit_code == 1
    assert r"gone\xff.png" in missing.stderr


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


HOSTILE = {
    "terminal escape": "\x1b]0;owned\x07\x1b[2J",
    "one byte control": "\x9b2J",
    "markup": "[bold red]ship[/]",
    "a link": "[link=https://example.org]ship[/link]",
    "unbalanced markup": "[/nothing]",
    "line": "ship\nError: forged",
    "turned around": "\u202egpj",
    "not Unicode": "caf\udce9",
}


@pytest.mark.parametrize("label", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", get_args(Format))
def test_terminal_escapes_and_markup_are_harmless(label: str, kind: Format) -> None:
    """In labels, names of models and names of files: shown as text, in every format."""
    written = shown(label, kind)
    assert UNPRINTABLE.search(written.replace("\r\n", "").replace("\n", "")) is None
    assert not [line for line in written.splitlines() if line.startswith("Error")]
    if label.startswith("[") and kind == "table":
        assert label[:5] in written


@pytest.mark.parametrize("label", ["=cmd()|'calc'!A0", "+1", "-1", "@SUM(A1)", "=\t1"])
def test_no_cell_is_a_formula(label: str) -> None:
    """Of what a spreadsheet reads; numbers stay numbers."""
    (row,) = csv.DictReader(StringIO(shown(label, "csv")))
    for column in ("image", "model", "label", "prediction_set"):
        assert row[column].startswith("'" + label[0])
    assert float(row["probability"]) == EXAMPLE["predictions"][0]["probability"]


def shown(label: str, kind: Format) -> str:
    """What is printed of one picture with this name and label, by a model of this name."""
    document = json.loads(json.dumps(EXAMPLE).replace('"4"', json.dumps(label)))
    answer = Answer.model_validate({**document, "model": label, "level_reason": None, "degraded": None})
    outcome = Outcome(Path(label), answer.predictions[0], answer)
    stream = StringIO(newline="")
    report([outcome], kind, stream)
    return stream.getvalue()
