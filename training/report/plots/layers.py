"""Plot each layer's scales and signal-to-noise ratios as densities over epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.report.plots.style import DENSITY, INK, SECOND, log_ticks, short, styled

KINDS = {"log_scale": "Scale", "log_snr": "|mean| / scale"}
# Bins of the axis that all layers share.
BINS = 96
# Share of a layer's weights that may lie beyond either end of the axis.
TAIL_SHARE = 0.002
# Sizes of a cell by the number of columns, gaps between cells, and margins.
CELL_SIZES_IN = {1: (3.6, 1.4), 2: (2.2, 1.1), 3: (1.65, 0.85)}
CELL_GAP_IN = (0.12, 0.3)
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.6, 0.12, 0.62, 0.5


def plottable_layers(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return the layers with scales in every line, in the network's order."""
    first = lines[0]["layers"] if lines else {}
    return [name for name in first if all(KINDS.keys() <= line["layers"].get(name, {}).keys() for line in lines)]


def cumulated(counts: Sequence[float], ends: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges of equal bins from `ends[0]` to `ends[1]`, and the share of weights below each."""
    low, high = ends
    return np.linspace(low, high, len(counts) + 1), np.concatenate([[0.0], np.cumsum(counts)]) / max(sum(counts), 1)


def rebinned(counts: Sequence[float], ends: Sequence[float], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of a histogram's weights between `edges`, float64, assuming evenly filled bins."""
    return np.diff(np.interp(edges, *cumulated(counts, ends)))


def quantile(counts: Sequence[float], ends: Sequence[float], share: float) -> float:
    """Return the value below which a share of a histogram's weights lies."""
    at, below = cumulated(counts, ends)
    return float(np.interp(share, below, at))


@styled()
def figure(lines: Sequence[dict[str, Any]], epochs: int) -> Figure:
    """Draw the lines of layers.jsonl, with at least one plottable layer, of a run of `epochs` epochs."""
    names = plottable_layers(lines)
    columns = 1 if len(names) < 3 else 2 if len(names) < 9 else 3
    rows = math.ceil(len(names) / columns)
    across, down = CELL_SIZES_IN[columns]
    half = LEFT_IN + columns * across + (columns - 1) * CELL_GAP_IN[0] + RIGHT_IN
    height = TOP_IN + rows * down + (rows - 1) * CELL_GAP_IN[1] + BOTTOM_IN
    # Manual layout, since the last layer of a column draws its axis into an empty cell below.
    drawn = Figure(figsize=(2 * half, height))
    drawn.set_layout_engine("none")
    for side, (kind, title) in enumerate(KINDS.items()):
        left = (side * half + LEFT_IN) / (2 * half)
        grid = drawn.subplots(
            rows,
            columns,
            sharex=True,
            sharey=True,
            squeeze=False,
            gridspec_kw={
                "left": left,
                "right": ((side + 1) * half - RIGHT_IN) / (2 * half),
                "bottom": BOTTOM_IN / height,
                "top": 1 - TOP_IN / height,
                "wspace": CELL_GAP_IN[0] / across,
                "hspace": CELL_GAP_IN[1] / down,
            },
        )
        drawn.text(left, 1 - 0.12 / height, f"{title}, with its median", va="top", fontsize=10)
        _small_multiples(grid, lines, names, kind, epochs)
    return drawn


def _small_multiples(
    grid: NDArray[Any], lines: Sequence[dict[str, Any]], names: list[str], kind: str, epochs: int
) -> None:
    edges, columns = _axis(lines, names, kind), grid.shape[1]
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        _layer(axes, lines, names[place], kind, edges)
        if place + columns >= len(names):
            axes.set_xlabel("epoch", labelpad=2)
            axes.tick_params(labelbottom=True)
    first = grid[0, 0]
    first.set(xlim=(0, max(epochs, lines[-1]["epoch"])), yscale="log", ylim=(10 ** edges[0], 10 ** edges[-1]))
    first.xaxis.set_major_locator(MaxNLocator(4, integer=True, prune="upper", steps=[1, 2, 5, 10]))
    log_ticks(first.yaxis, *first.get_ylim())


def _layer(axes: Axes, lines: Sequence[dict[str, Any]], name: str, kind: str, edges: NDArray[np.float64]) -> None:
    epochs = [line["epoch"] for line in lines]
    histograms = _histograms(lines, [name], kind)
    shares = np.stack([rebinned(*histogram, edges) for histogram in histograms], 1)
    # Normalised per epoch, so that a narrow distribution does not hide the others.
    axes.pcolormesh(_spans(epochs), 10**edges, shares / shares.max(0).clip(1e-12), cmap=DENSITY, vmin=0, vmax=1.25)
    medians = [10 ** quantile(*histogram, 0.5) for histogram in histograms]
    axes.plot(epochs, medians, color=SECOND, linewidth=1.2, marker="" if len(lines) > 1 else ".")
    axes.set_title(short(name), fontsize=8, pad=3)
    axes.set_title(f"{medians[-1]:.3g}", fontsize=8, pad=3, loc="right", color=SECOND)
    axes.tick_params(labelsize=7.5, length=2.5)
    axes.spines[:].set_color(INK)
    axes.spines[:].set_linewidth(0.4)


def _spans(epochs: list[int]) -> list[float]:
    """Return the column edges: halfway between neighbouring epochs."""
    between = [(before + after) / 2 for before, after in pairwise(epochs)]
    first = 1.5 * epochs[0] - 0.5 * epochs[1] if between else 0
    return [max(first, 0), *between, epochs[-1]]


def _histograms(lines: Sequence[dict[str, Any]], names: list[str], kind: str) -> list[tuple[list[float], list[float]]]:
    """Return counts and ends of every named layer at every epoch."""
    of_layers = [line["layers"][name] for line in lines for name in names]
    return [(of_layer[kind], of_layer[f"{kind}_range"]) for of_layer in of_layers]


def _axis(lines: Sequence[dict[str, Any]], names: list[str], kind: str) -> NDArray[np.float64]:
    """Return bin edges that cover all but the tails of every layer at every epoch."""
    histograms = _histograms(lines, names, kind)
    low = min(quantile(*histogram, TAIL_SHARE) for histogram in histograms)
    high = max(quantile(*histogram, 1 - TAIL_SHARE) for histogram in histograms)
    margin = max(0.05 * (high - low), 0.05)
    return np.linspace(low - margin, high + margin, BINS + 1)
