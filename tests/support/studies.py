"""Run a small study of the digits, and read its table."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from pruning.cli.study import app

FLAGS = ["--epochs", "1", "--draws", "2", "--criteria", "snr,random", "--levels", "p50,p80,x2"]


def study(run: Path, out: Path, *flags: str) -> Result:
    return CliRunner().invoke(app, [str(run), "--out", str(out), *(flags or FLAGS)])


CELLS = [
    *("dense", "snr-weight-p50", "snr-weight-p80", "random-weight-p50", "random-weight-p80"),
    *("snr-channel-p50", "snr-channel-p80", "snr-channel-x2"),
    *("random-channel-p50", "random-channel-p80", "random-channel-x2"),
    *("bprune-weight-p50", "bprune-weight-p80"),
]


def table(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((folder / "table.json").read_bytes())["rows"]
    return rows
