"""What a study leaves for people and programs: a table in three forms, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pruning.cell import Cell, Found
from pruning.plot import figure
from pruning.table import as_csv, as_json, as_markdown, rows
from training.checkpoint import write_atomically
from training.plots.style import png

QUALITIES = {"accuracy": "Accuracy", "nll": "NLL, nats", "ece": "ECE, 15 bins"}


def write_results(found: Mapping[Cell, Found], folder: Path) -> list[Path]:
    """Write the tables and plots of the cells so far; returns their paths."""
    table = rows(found)
    files = {"table.json": as_json(table), "table.csv": as_csv(table), "table.md": as_markdown(table)}
    contents = {name: text.encode() for name, text in files.items()}
    strangers = [key for key in table[0] if key.startswith("ood_auroc_")]
    drawn = QUALITIES | {key: f"AUROC against {key.removeprefix('ood_auroc_')}" for key in strangers}
    if len(table) > 1:
        contents |= {f"{quality}.png": png(figure(table, quality, called)) for quality, called in drawn.items()}
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]
