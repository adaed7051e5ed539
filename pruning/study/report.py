"""Write a study's results: tables as JSON, CSV and Markdown, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pruning.study.plots import figure
from pruning.study.tables import OOD_AUROC, as_csv, as_json, as_markdown, rows
from pruning.study.trial import Trial, TrialResult
from pruning.study.verdicts import verdicts
from training.atomic import write_atomically
from training.report.plots.style import png

QUALITIES = {"accuracy": "Accuracy", "nll": "NLL, nats", "ece": "ECE, 15 bins"}


def write_tables(results: Mapping[Trial, TrialResult], folder: Path) -> list[Path]:
    """Write the tables of the finished trials, and return their paths."""
    table, sentences = rows(results), verdicts(results)
    files = {
        "table.json": as_json(table, sentences),
        "table.csv": as_csv(table),
        "table.md": as_markdown(table, sentences),
    }
    return _write({name: text.encode() for name, text in files.items()}, folder)


def write_plots(results: Mapping[Trial, TrialResult], folder: Path) -> list[Path]:
    """Plot each figure of quality if there are at least two trials, which takes seconds; return the paths."""
    table = rows(results)
    if len(table) < 2:
        return []
    ood_columns = [key for key in table[0] if key.startswith(OOD_AUROC)]
    titles = QUALITIES | {key: f"AUROC against {key.removeprefix(OOD_AUROC)}" for key in ood_columns}
    return _write({f"{quality}.png": png(figure(table, quality, title)) for quality, title in titles.items()}, folder)


def _write(contents: Mapping[str, bytes], folder: Path) -> list[Path]:
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
