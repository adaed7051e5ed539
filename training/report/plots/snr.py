"""Plot the signal-to-noise ratios of a posterior, |mean| / scale, by which weights are pruned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.bayesian.posterior import Posterior
from training.report.plots.style import PALE, SECOND, STRONG, log_ticks, short, styled

# Shares of all weights whose thresholds are drawn.
SHARES = (0.5, 0.8, 0.9, 0.95)
# Ends of a layer's thin bar, of its thick bar, and the median.
QUANTILES = (0.05, 0.95, 0.25, 0.75, 0.5)
BINS = 120
# Share of all weights that may lie left of the axis, and limits of the axis.
TAIL_SHARE = 0.005
MIN_RATIO, MAX_RATIO = 1e-6, 1e9
ROW_HEIGHT_IN = 0.24

Ratios = Mapping[str, NDArray[np.float32]]


def ratios(posterior: Posterior) -> dict[str, NDArray[np.float32]]:
    """Return |mean| / scale of every weight with noise, flat float32, by layer in the network's order.

    Layers without such weights are left out.
    """
    found = {}
    # Files keep no order, but blocks are numbered.
    for name in sorted(posterior.weights, key=_numbered):
        weight = posterior.weights[name]
        noisy = weight.scale > 0
        if noisy.any():
            found[name] = (weight.mean[noisy].abs() / weight.scale[noisy]).float().numpy()
    return found


def _numbered(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]


def thresholds(of_layers: Ratios) -> dict[float, float]:
    """Return, for each of `SHARES`, the ratio below which this share of all weights lies."""
    values = np.quantile(np.concatenate(list(of_layers.values())), SHARES)
    return {share: float(value) for share, value in zip(SHARES, values, strict=True)}


@styled()
def figure(of_layers: Ratios) -> Figure:
    """Draw the ratios of at least one layer: all weights above, by layer below."""
    of_layers = {name: values.clip(MIN_RATIO, MAX_RATIO) for name, values in of_layers.items()}
    rows = ROW_HEIGHT_IN * (len(of_layers) + 1)
    drawn = Figure(figsize=(9, 3.4 + rows))
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[2.4, rows])
    _density(above, np.concatenate(list(of_layers.values())))
    _bars(below, of_layers)
    for place, (share, threshold) in enumerate(thresholds(of_layers).items()):
        _flag(above, place, f"{share:.0%} of weights below {threshold:.3g}", threshold)
        below.axvline(threshold, color=SECOND, linewidth=0.8, alpha=0.5, zorder=0)
    above.set_title("|mean| / scale of the final posterior")
    log_ticks(below.xaxis, *above.get_xlim())
    return drawn


def _density(axes: Axes, values: NDArray[np.float32]) -> None:
    low, high = float(np.quantile(values, TAIL_SHARE)), float(values.max())
    if high < 1.1 * low:
        low, high = low / 1.05, high * 1.05
    edges = np.geomspace(low, high, BINS + 1)
    counts, _ = np.histogram(np.log10(values), np.log10(edges))
    axes.stairs(counts / len(values), edges, fill=True, color=PALE)
    axes.stairs(counts / len(values), edges, color=STRONG, linewidth=1.2)
    # The upper part is for the threshold labels.
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 1.9 * counts.max() / len(values)), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelbottom=False)


def _flag(axes: Axes, place: int, text: str, threshold: float) -> None:
    """Draw a labelled threshold, lower for each further right, so that no line crosses another label."""
    height = axes.get_ylim()[1] * (0.98 - 0.11 * place)
    axes.plot([threshold, threshold], [0, height], color=SECOND, linewidth=0.9)
    axes.annotate(text, (threshold, height), (4, 0), textcoords="offset points", va="top", fontsize=8)


def _bars(axes: Axes, of_layers: Ratios) -> None:
    rows = np.arange(len(of_layers))
    at = np.array([np.quantile(values, QUANTILES) for values in of_layers.values()]).T
    axes.hlines(rows, at[0], at[1], color=STRONG, linewidth=1.0)
    axes.hlines(rows, at[2], at[3], color=STRONG, linewidth=5.0, alpha=0.45)
    axes.plot(at[4], rows, "o", color=STRONG, markersize=4)
    axes.set_yticks(rows, [short(name) for name in of_layers], fontsize=8)
    axes.set(ylim=(len(of_layers) - 0.4, -0.8), xlabel="|mean| / scale")
    axes.set_title("by layer: median, middle half, 5 to 95%", fontsize=8)
    axes.set_title("weights", fontsize=8, loc="right")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    counts = axes.secondary_yaxis("right")
    counts.set_yticks(rows, [f"{len(values):,}" for values in of_layers.values()], fontsize=8)
    counts.tick_params(length=0)
    counts.spines["right"].set_visible(False)
