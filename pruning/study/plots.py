"""Plot quality against cost: one image per figure of quality, with one panel per cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pruning.study.tables import PAPER, Row
from training.report.plots.style import FAINT, INK, log_ticks, styled

# Label and divisor of each column of costs.
COSTS: Mapping[str, tuple[str, float]] = {
    "sparsity": ("weights removed", 1),
    "multiply_adds": ("million multiply-adds", 1e6),
    "bytes": ("kB of the file", 1e3),
    "milliseconds": ("ms a draw, measured", 1),
}
COLOURS = {
    "snr": "#0072b2",
    "free_energy": "#d55e00",
    "activation": "#56b4e9",
    "gate_fisher": "#e69f00",
    "magnitude": "#009e73",
    "random": FAINT,
    "bprune": "#cc79a7",
    "scratch": INK,
}
DASHES = {"weight": "-", "channel": "--"}


@styled()
def figure(table: Sequence[Row], quality: str, title: str) -> Figure:
    """Plot the column `quality` of a study's rows, entitled `title`, against every cost."""
    drawn = Figure(figsize=(13.0, 3.8))
    panels = drawn.subplots(1, len(COSTS), sharey=True)
    dense = next(row for row in table if row["level"] == "dense")
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in table:
        if row is not dense:
            lines.setdefault((row["criterion"], row["granularity"]), []).append(row)
    for axes, (cost, (label, unit)) in zip(panels, COSTS.items(), strict=True):
        for (criterion, granularity), line in lines.items():
            ordered = sorted([dense, *line], key=lambda row: float(row[cost]))
            costs, values = [row[cost] / unit for row in ordered], [row[quality] for row in ordered]
            colour, name = COLOURS.get(criterion, INK), f"{criterion}, {granularity}"
            axes.plot(costs, values, DASHES[granularity], color=colour, marker="o", markersize=3, label=name)
        axes.axhline(dense[quality], color=FAINT, linewidth=0.8)
        axes.set_xlabel(label)
        axes.grid(axis="y")
        _scale(axes, cost, [row[cost] / unit for row in table])
    if quality == "accuracy":
        point = (PAPER["sparsity"], dense[quality] - PAPER["accuracy_lost"])
        panels[0].plot(*point, "*", color=INK, markersize=9, label="the paper")
        panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    panels[0].set_title(title)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return drawn


def _scale(axes: Axes, cost: str, values: Sequence[float]) -> None:
    if cost == "sparsity":
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    elif min(values) > 0 and max(values) > min(values):
        axes.set_xscale("log")
        log_ticks(axes.xaxis, min(values), max(values))
