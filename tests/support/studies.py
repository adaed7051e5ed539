"""Run a small study of the digits, and read its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pruning.cli.study import app

FLAGS = ["--epochs", "1", "--draws", "2", "--criteria", "snr,random", "--levels", "p50,p80,x2"]


def study(run: Path, out: Path, *flags: str, plots: bool = False) -> Result:
    """Run it; its plots take seconds, and few look at them."""
    with pytest.MonkeyPatch.context() as patch:
        if not plots:
            patch.setattr("pruning.study.report.write_plots", lambda results, folder: [])
        return CliRunner().invoke(app, [str(run), "--out", str(out), *(flags or FLAGS)])


NAMES = ("snr", "random", "magnitude", "scratch")
CELLS = [
    "dense",
    *(f"{name}-weight-{level}" for name in NAMES for level in ("p50", "p80")),
    *(
        f"{name}-channel-{level}"
        for name in ("snr", "random", "magnitude", "scratch")
        for level in ("p50", "p80", "x2")
    ),
    *("bprune-weight-p50", "bprune-weight-p80"),
]


def table(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((folder / "table.json").read_bytes())["rows"]
    return rows
