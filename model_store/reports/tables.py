"""The pruning levels side by side, and the operations of one, as tables for a terminal of eighty columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import Metrics
from model_store.onnx_file.summary import GraphNode


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


def graph_table(nodes: Iterable[GraphNode]) -> Table:
    """One row an operation: what it makes and reads, its weight's shape, what is left of that, whether it is drawn."""
    table = Table("makes", "operation", "reads", "weight", Column("left", justify="right"), "drawn")
    for node in nodes:
        _, shape, count = max(node.holds, key=lambda held: len(held[1]), default=("", (), 0))
        table.add_row(
            node.makes,
            node.operation,
            ", ".join(node.reads),
            "x".join(map(str, shape)) if len(shape) > 1 else "",
            f"{count / prod(shape):.1%}" if len(shape) > 1 else "",
            "yes" if node.random else "",
        )
    return table
