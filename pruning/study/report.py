"""What a study leaves for people and programs: a table in three forms, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pruning.study.plots import figure
from pruning.study.tables import as_csv, as_json, as_markdown, rows
from pruning.study.trial import Trial, TrialResult
from training.atomic import write_atomically
from training.report.plots.style import png

QUALITIES = {"accuracy": "Accuracy", "nll": "NLL, nats", "ece": "ECE, 15 bins"}


def write_tables(found: Mapping[Trial, TrialResult], folder: Path) -> list[Path]:
    """Write the tables of the cells so far; returns their paths."""
    table = rows(found)
    files = {"table.json": as_json(table), "table.csv": as_csv(table), "table.md": as_markdown(table)}
    return _written({name: text.encode() for name, text in files.items()}, folder)


def write_plots(found: Mapping[Trial, TrialResult], folder: Path) -> list[Path]:
    """Plot each figure of quality of two or more cells, which takes seconds; returns the paths."""
    table = rows(found)
    if len(table) < 2:
        return []
    strangers = [key for key in table[0] if key.startswith("ood_auroc_")]
    drawn = QUALITIES | {key: f"AUROC against {key.removeprefix('ood_auroc_')}" for key in strangers}
    plots = {f"{quality}.png": png(figure(table, quality, called)) for quality, called in drawn.items()}
    return _written(plots, folder)


def _written(contents: Mapping[str, bytes], folder: Path) -> list[Path]:
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
