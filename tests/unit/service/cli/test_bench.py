"""`slimbayes bench engine`: every way of every level, counted in passes of the dense network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.bench import app


def test_every_way_is_timed(digits_store: Path, digits_run: Path, tmp_path: Path) -> None:
    """Adaptive answers take no more draws than fixed ones, and the price is one pass of the dense network."""
    pictures = [str(path) for path in sorted((digits_run / "examples").glob("*.png"))[:8]]
    file = tmp_path / "engine.json"
    result = CliRunner().invoke(
        app, ["engine", *pictures, "--store", str(digits_store), "--rounds", "2", "--json", str(file)]
    )
    assert result.exit_code == 0, result.output
    rows = {(row["level"], row["way"]): row for row in json.loads(file.read_text())["rows"]}
    ways = {"one pass", "draws in the graph", "ours, fixed", "ours, adaptive"}
    assert rows.keys() == {(level, way) for level in ("dense", "p50", "p90") for way in ways}
    assert rows["dense", "one pass"]["ratio_to_dense_pass"] == 1
    for level in ("dense", "p50", "p90"):
        assert 4 <= rows[level, "ours, adaptive"]["draws"] <= rows[level, "ours, fixed"]["draws"] == 32


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "cats"], "no model 'cats'"),
        (["nowhere.png"], "cannot read or write nowhere.png"),
        (["--version", "x"], "no version or alias 'x'"),
    ],
)
def test_bad_input(digits_store: Path, arguments: list[str], says: str) -> None:
    """One line that says what was wrong."""
    result = CliRunner().invoke(app, ["engine", *arguments, "--store", str(digits_store)])
    assert result.exit_code == 1
    assert says in " ".join(result.stderr.split())
