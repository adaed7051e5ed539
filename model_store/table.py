"""The pruning levels side by side, as a table for a terminal of eighty columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import Metrics


class LevelFigures(Protocol):
    """What the table shows of a level: one of a manifest, or one that a service lists."""

    @property
    def name(self) -> str: ...
    @property
    def sparsity(self) -> float: ...
    @property
    def bytes(self) -> int: ...
    @property
    def multiply_adds(self) -> int: ...
    @property
    def metrics(self) -> Metrics: ...


def levels_table(levels: Iterable[LevelFigures], milliseconds: Mapping[str, float] | None = None) -> Table:
    """One row a level; `milliseconds` is how long an answer took, by level, where that is known."""
    headers = ["sparsity", "kB", "M mult-adds", "accuracy", "NLL", "ECE", *(["ms"] if milliseconds else [])]
    table = Table("level", *(Column(header, justify="right") for header in headers))
    for level in levels:
        metrics = level.metrics
        table.add_row(
            level.name,
            f"{level.sparsity:.1%}",
            f"{level.bytes / 1e3:,.1f}",
            f"{level.multiply_adds / 1e6:,.3f}",
            f"{metrics.accuracy:.2%}",
            f"{metrics.nll:.4f}",
            f"{metrics.ece:.4f}",
            *([f"{milliseconds[level.name]:.2f}"] if milliseconds else []),
        )
    return table
