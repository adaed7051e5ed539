"""Shared colours, sizes and labels of all plots."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

# Distinguishable with colour blindness and in greyscale (Okabe and Ito 2008).
STRONG, SECOND, INK, FAINT = "#0072b2", "#d55e00", "#333333", "#a6a6a6"
PALE = "#cfe3f1"
# Sequential colour map for densities.
DENSITY = "Blues"
# Distance between baselines of text.
LINE_HEIGHT_PT = 12.0

SETTINGS: dict[Any, Any] = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw figures in the shared style only; use as context manager or decorator."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


@styled()
def png(figure: Figure) -> bytes:
    """Render a figure as a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


class End(NamedTuple):
    """Label of a curve at its last point."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: list[End]) -> None:
    """Write each curve's label to the right of its last point, moved apart where points are close."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    texts = [
        axes.annotate(
            end.text, (end.x, end.y), (6, 0), textcoords="offset points", color=end.colour, va="center", clip_on=False
        )
        for end in ends
    ]
    figure.draw_without_rendering()  # computes the layout, and with it the positions of points
    points = 72 / figure.dpi
    heights = [float(axes.transData.transform((end.x, end.y))[1]) * points for end in ends]
    for text, height, free in zip(texts, heights, spread_apart(heights, LINE_HEIGHT_PT), strict=True):
        text.xyann = (6, free - height)


def spread_apart(places: list[float], gap: float) -> list[float]:
    """Move positions as little as possible so that any two are at least `gap` apart, keeping their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    # Groups of touching neighbours, each with its members and its centre.
    groups: list[tuple[list[int], float]] = []
    for index in order:
        members, middle = [index], places[index]
        while groups and middle - groups[-1][1] < gap * (len(members) + len(groups[-1][0])) / 2:
            before, _ = groups.pop()
            members = before + members
            middle = sum(places[i] for i in members) / len(members)
        groups.append((members, middle))
    free = [0.0] * len(places)
    for members, middle in groups:
        for position, index in enumerate(members):
            free[index] = middle + gap * (position - (len(members) - 1) / 2)
    return free


def short(name: str) -> str:
    """Return the name of a weight tensor in plots."""
    layer = name.removesuffix(".weight")
    return name if layer.isdecimal() else layer


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Set ticks at round numbers on a logarithmic axis from `low` to `high`."""
    decades = math.log10(high / low)
    if decades < 1:
        axis.set_major_locator(MaxNLocator(4))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
