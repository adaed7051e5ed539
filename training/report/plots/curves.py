"""Plot loss and accuracy over epochs, on training and held-out images, with learning rate and β below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.report.plots.style import FAINT, SECOND, STRONG, End, label_ends, log_ticks, styled

LOSSES = {
    "loss": ("loss", SECOND, "-"),
    "data": ("data term", SECOND, "--"),
    "held_out_nll": ("held-out NLL", STRONG, "-"),
}
ACCURACIES = {"accuracy": ("training", SECOND, "-"), "held_out_accuracy": ("held out", STRONG, "-")}
# Above this ratio of maximum to minimum, a linear axis hides the end of training.
MAX_LINEAR_RATIO = 10.0


def column(lines: Sequence[dict[str, Any]], figure: str) -> list[float]:
    """Return one figure of a log's lines, NaN where it is missing."""
    return [float(line.get(figure, math.nan)) for line in lines]


@styled()
def figure(lines: Sequence[dict[str, Any]], epochs: int) -> Figure:
    """Draw the lines of a log, at least one, of a run of `epochs` epochs."""
    drawn = Figure(figsize=(10.5, 4.8))
    (loss, accuracy), (rate, beta) = drawn.subplots(2, 2, sharex=True, height_ratios=[6, 1])
    loss.set_xlim(0, max(epochs, *column(lines, "epoch")))
    loss.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    for axes in (loss, accuracy):
        axes.grid(axis="y")
    loss.set_title("Loss, in nats an image")
    accuracy.set_title("Accuracy")
    losses = [value for name in LOSSES for value in column(lines, name) if math.isfinite(value)]
    if losses and min(losses) > 0 and max(losses) / min(losses) > MAX_LINEAR_RATIO:
        loss.set_yscale("log")
        log_ticks(loss.yaxis, min(losses), max(losses))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    _strip(rate, lines, "learning_rate", "learning rate")
    _strip(beta, lines, "beta", "weight of the divergence")
    _curves(loss, lines, LOSSES, "{:.3f}")
    _curves(accuracy, lines, ACCURACIES, "{:.1%}")
    return drawn


def _curves(axes: Axes, lines: Sequence[dict[str, Any]], curves: dict[str, tuple[str, str, str]], shown: str) -> None:
    epochs, ends = column(lines, "epoch"), []
    for name, (called, colour, dashes) in curves.items():
        values = column(lines, name)
        axes.plot(
            epochs, values, dashes, color=colour, marker=_marker(lines), markersize=4, label=called, clip_on=False
        )
        last = next((place for place in reversed(range(len(values))) if math.isfinite(values[place])), None)
        if last is not None:
            ends.append(End(epochs[last], values[last], f"{called} {shown.format(values[last])}", colour))
    label_ends(axes, ends)


def _strip(axes: Axes, lines: Sequence[dict[str, Any]], name: str, called: str) -> None:
    """Draw a faint curve in a low strip, with its maximum on the axis."""
    epochs, values = column(lines, "epoch"), column(lines, name)
    largest = max((value for value in values if value > 0), default=1.0)
    axes.plot(
        epochs, values, color=FAINT, linewidth=1.2, marker=_marker(lines), markersize=3, label=called, clip_on=False
    )
    axes.set_ylim(0, 1.05 * largest)
    axes.set_yticks([0, largest], ["0", f"{largest:.3g}"], fontsize=8)
    axes.set_title(called, fontsize=8, pad=3)
    axes.set_xlabel("epoch")


def _marker(lines: Sequence[dict[str, Any]]) -> str:
    """Return the marker of points: one or two points need it to be visible."""
    return "o" if len(lines) < 3 else ""
