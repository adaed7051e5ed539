"""Show pruning levels side by side, and the operations of one level, as tables of eighty columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import Metrics
from model_store.onnx_file.summary import GraphNode
from model_store.reports.terminal import cell


class LevelFigures(Protocol):
    """Figures of a level that the table shows, from a manifest or from a service's listing."""

    @property
    def name(self) -> str: ...
    @property
    def sparsity(self) -> float: ...
    @property
    def bytes(self) -> int: ...
    @property
    def multiply_adds(self) -> int: ...
    @property
    def members(self) -> int: ...
    @property
    def metrics(self) -> Metrics: ...


def levels_table(levels: Iterable[LevelFigures], milliseconds: Mapping[str, float] | None = None) -> Table:
    """Build a table with one row per level; `milliseconds` is the latency of an answer by level, where known.

    Members are shown where some level is a mixture.
    """
    levels = list(levels)
    mixtures = any(level.members > 1 for level in levels)
    headers = ["members"] if mixtures else []
    headers += ["sparsity", "kB", "M mult-adds", "accuracy", "NLL", "ECE", *(["ms"] if milliseconds else [])]
    table = Table("level", *(Column(header, justify="right") for header in headers))
    for level in levels:
        metrics = level.metrics
        table.add_row(
            cell(level.name),
            *([f"{level.members}"] if mixtures else []),
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
    """Build a table with a row per operation: output, inputs, its weight's shape, the share left, whether drawn."""
    table = Table("makes", "operation", "reads", "weight", Column("left", justify="right"), "drawn")
    for node in nodes:
        _, shape, count = max(node.holds, key=lambda held: len(held[1]), default=("", (), 0))
        table.add_row(
            cell(node.makes),
            cell(node.operation),
            cell(", ".join(node.reads)),
            "x".join(map(str, shape)) if len(shape) > 1 else "",
            f"{count / prod(shape):.1%}" if len(shape) > 1 else "",
            "yes" if node.random else "",
        )
    return table
