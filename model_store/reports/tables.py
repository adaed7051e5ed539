"""Show pruning levels side by side, and the operations of one level, as tables of eighty columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import Metrics
from model_store.onnx_file.summary import GraphNode
from model_store.reports.terminal import cell
from model_store.small_samples import interval_text


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

    Members are shown where some level is a mixture, and the interval of the accuracy where test images are counted.
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
            _kilobytes(level.bytes),
            f"{level.multiply_adds / 1e6:,.3f}",
            _accuracy(metrics),
            f"{metrics.nll:.4f}",
            f"{metrics.ece:.4f}",
            *([f"{milliseconds[level.name]:.2f}"] if milliseconds else []),
        )
    if counts := {level.metrics.test_images for level in levels} - {None}:
        table.caption = f"accuracy on {', '.join(f'{count:,}' for count in counts)} test images, and its 95 % interval"
    return table


def _kilobytes(count: int) -> str:
    return f"{count / 1e3:,.1f}" if count < 1e6 else f"{count / 1e3:,.0f}"


def _accuracy(metrics: Metrics) -> str:
    count = metrics.test_images
    interval = "" if count is None else f"\n{interval_text(metrics.accuracy, count).rstrip('%')}"
    return f"{metrics.accuracy:.2%}{interval}"


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
