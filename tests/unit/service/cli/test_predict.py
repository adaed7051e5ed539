"""`slimbayes predict` against a real service: what it asks about, what it prints, how it ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.keys import Key
from service.predict_cli import app
from tests.support.images import png
from tests.support.services import running_service


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """A service that takes three images at a time."""
    with running_service(digits_store, "--max-images", "3") as (url, _):
        yield url


@pytest.fixture(scope="module")
def digits(digits_run: Path) -> list[Path]:
    """Pictures of digits."""
    return sorted((digits_run / "examples").glob("*.png"))[:7]


@pytest.fixture
def folder(tmp_path: Path, digits: list[Path]) -> Path:
    """Seven digits in folders of folders, among other files."""
    for number, digit in enumerate(digits):
        below = tmp_path / "digits" / "ab"[number % 2] / "c"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.PNG").write_bytes(digit.read_bytes())
    (tmp_path / "digits" / "notes.txt").write_text("not a picture")
    (tmp_path / "digits" / ".hidden.png").write_bytes(b"")
    return tmp_path / "digits"


def predict(url: str, *arguments: object, **environment: str) -> Result:
    environment = {"COLUMNS": "160", "SLIMBAYES_URL": url} | environment
    return CliRunner(env=environment).invoke(app, [str(each) for each in arguments])


def documents(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


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


def test_folders_and_patterns(url: str, folder: Path) -> None:
    """With all below, in order, without what is no picture or hidden."""
    found = [one["image"] for one in documents(predict(url, folder, "--format", "json"))]
    names = [f"{below}/c/{number}.PNG" for below, numbers in (("a", "0246"), ("b", "135")) for number in numbers]
    assert found == [str(folder / name) for name in names]
    for pattern, expected in (("**/[12].PNG", ["a/c/2.PNG", "b/c/1.PNG"]), ("a/c/*", names[:4])):
        found = [one["image"] for one in documents(predict(url, folder / pattern, "--format", "json"))]
        assert found == [str(folder / name) for name in expected]


def test_one_bad_picture_stops_no_other(url: str, folder: Path) -> None:
    """Each of them is named with its reason, whatever it is; the others keep their answers and their order."""
    (folder / "a" / "c" / "2.PNG").write_bytes(b"not a picture")
    (folder / "b" / "c" / "3.PNG").write_bytes((folder / "b" / "c" / "3.PNG").read_bytes()[:60])
    result = predict(url, folder, folder / "none.png", folder / "*.gif", "--format", "json")
    assert result.exit_code == 1
    found = documents(result)
    assert [Path(one["image"]).name[0] for one in found] == list("0246135")
    assert [Path(one["image"]).name[0] for one in found if "error" in one] == ["2", "3"]
    good = documents(predict(url, folder / "a" / "c" / "4.PNG", "--format", "json"))[0]
    assert found[2]["probability"] == pytest.approx(good["probability"], abs=1e-5)
    for said in ("2.PNG: the service answered 415", "3.PNG: the service answered 422", "there is no such file",
                 "no file matches"):  # fmt: skip
        assert said in result.stderr


def test_strict(url: str, tmp_path: Path, digits: list[Path]) -> None:
    """Status 3 where something is abstained on, and only where that was asked for."""
    generator = np.random.default_rng(1)
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(png(generator.integers(0, 256, (8, 8), dtype=np.uint8)))
    asked = documents(predict(url, tmp_path, *digits, "--format", "json"))
    unsure = next(one["image"] for one in asked if one["decision"] == "abstain")
    sure = next(one["image"] for one in asked if one["decision"] == "accept")
    for arguments, status in (((unsure, sure), 0), ((unsure, sure, "--strict"), 3), ((sure, "--strict"), 0)):
        assert predict(url, *arguments).exit_code == status


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--level", "p99"], "404"), (["--samples", "0"], "from 1 to 256"), (["--alpha", "0.5"], "calibrated for")],
)
def test_refusals_are_said_once(url: str, digits: list[Path], arguments: list[str], says: str) -> None:
    """What is wrong with every request ends it all."""
    result = predict(url, *digits, "--batch", "1", *arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.stderr.split())
    assert result.stderr.count("Error") == 1
    assert result.stdout == ""


def test_no_files(tmp_path: Path) -> None:
    """Nobody is asked about nothing."""
    result = predict("http://127.0.0.1:9", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there are no pictures in it" in result.stderr


def test_a_key_from_the_environment(digits_store: Path, digits: list[Path], tmp_path: Path) -> None:
    key, line = Key.make("ann", "user")
    (tmp_path / "keys").write_text(str(line))
    with running_service(digits_store, "--keys-file", str(tmp_path / "keys")) as (url, _):
        assert "asks for a key" in predict(url, digits[0]).stderr
        assert predict(url, digits[0], "--key", key).exit_code == 0
        assert predict(url, digits[0], SLIMBAYES_KEY=key).exit_code == 0
