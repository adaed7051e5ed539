"""Compare two versions of a model: their levels side by side, and how they were trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Column, Table

from model_store.manifest import Level, Manifest
from model_store.reports.terminal import cell

Figure = Callable[[Level], float]
# By JSON key: the table's heading, the figure, and the formats of a value and of a difference.
FIGURES: Mapping[str, tuple[str, Figure, str, str]] = {
    "accuracy": ("accuracy", lambda level: level.metrics.accuracy, "{:.2%}", "{:+.2%}"),
    "nll": ("NLL", lambda level: level.metrics.nll, "{:.4f}", "{:+.4f}"),
    "ece": ("ECE", lambda level: level.metrics.ece, "{:.4f}", "{:+.4f}"),
    "sparsity": ("sparsity", lambda level: level.sparsity, "{:.1%}", "{:+.1%}"),
    "bytes": ("bytes", lambda level: level.bytes, "{:,.0f}", "{:+,.0f}"),
    "multiply_adds": ("mult-adds", lambda level: level.multiply_adds, "{:,.0f}", "{:+,.0f}"),
}
FORMATS = [(figure, shown, changed) for _, figure, shown, changed in FIGURES.values()]


@dataclass(frozen=True)
class Pair:
    """A level in both versions; None where a version has no level of that name."""

    name: str
    before: Level | None
    after: Level | None


def pairs(before: Manifest, after: Manifest) -> list[Pair]:
    """Return every level of both versions, those of the later version first."""
    names = dict.fromkeys([level.name for level in (*after.levels, *before.levels)])
    return [Pair(name, before.level(name), after.level(name)) for name in names]


def provenance(before: Manifest, after: Manifest) -> dict[str, tuple[Any, Any]]:
    """Return all other differences: by dotted name, the value in either version."""
    old, new = _flat(_described(before)), _flat(_described(after))
    names = dict.fromkeys([*old, *new])
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def as_json(before: Manifest, after: Manifest) -> dict[str, Any]:
    """Return the whole comparison as a document."""
    return {
        "model": after.model,
        "from": before.version,
        "to": after.version,
        "changed": {name: {"from": old, "to": new} for name, (old, new) in provenance(before, after).items()},
        "levels": [
            {"name": pair.name, "from": _figures(pair.before), "to": _figures(pair.after)}
            for pair in pairs(before, after)
        ],
    }


def levels_table(before: Manifest, after: Manifest) -> Table:
    """Build a table of eighty columns, a row per level: each figure of the later version, and its change below."""
    heads = [Column(head, justify="right") for head, *_ in FIGURES.values()]
    table = Table("level", *heads, title=f"{before.version} → {after.version}")
    for pair in pairs(before, after):
        remark = "\nnew" if pair.before is None else "\ngone" if pair.after is None else ""
        table.add_row(cell(pair.name).append(remark), *(_cell(pair, *formats) for formats in FORMATS))
    return table


def provenance_table(before: Manifest, after: Manifest) -> Table:
    """Build a table with one row for each other difference."""
    table = Table(
        Column("", overflow="fold"), Column(before.version, overflow="fold"), Column(after.version, overflow="fold")
    )
    for name, (old, new) in provenance(before, after).items():
        values = (cell("—" if value is None else value) for value in (old, new))
        table.add_row(cell(name.removeprefix("training.hyperparameters.")), *values)
    return table


def _cell(pair: Pair, figure: Figure, shown: str, changed: str) -> str:
    if pair.after is None:
        return "" if pair.before is None else shown.format(figure(pair.before))
    value = figure(pair.after)
    if pair.before is None:
        return shown.format(value)
    change = value - figure(pair.before)
    return f"{shown.format(value)}\n{changed.format(change) if change else '='}"


def _figures(level: Level | None) -> dict[str, float] | None:
    return None if level is None else {name: figure(level) for name, (_, figure, *_) in FIGURES.items()}


def _described(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(mode="json", include={"classes", "input", "training", "default_level", "schema_version"})


def _flat(document: Any, name: str = "") -> dict[str, Any]:
    """Return a document's values by dotted name; a list is one value."""
    if not isinstance(document, dict):
        return {name: document}
    parts = (_flat(value, f"{name}.{key}" if name else key) for key, value in document.items())
    return {key: value for part in parts for key, value in part.items()}
