"""Plot two versions as SVG: accuracy against multiply-adds of a draw, with an arrow from each level to its successor.

The SVG is written by hand, since a machine that only keeps models has no plotting library.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10

from model_store.manifest import Level, Manifest
from model_store.reports.diff import pairs

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 50, 60
OLD, NEW, INK, FAINT = "#8a8f98", "#0072b2", "#1f2430", "#d9dce1"
STEPS = (1, 2, 5)


def as_svg(before: Manifest, after: Manifest) -> str:
    """Return the plot as a standalone document."""
    frame = _Frame([*before.levels, *after.levels])
    parts = [*frame.grid()]
    for pair in pairs(before, after):
        if pair.before is not None and pair.after is not None:
            parts.append(_arrow(frame.place(pair.before), frame.place(pair.after)))
        for level, fill, stroke in ((pair.before, "none", OLD), (pair.after, NEW, NEW)):
            if level is not None:
                parts.append(_dot(frame.place(level), fill, stroke))
                x, y = frame.place(level)
        parts.append(_text(x + 10, y - 8, pair.name))
    legend = _dot((LEFT + 8, 28), "none", OLD) + _text(LEFT + 20, 32, before.version)
    legend += _dot((LEFT + 228, 28), NEW, NEW) + _text(LEFT + 240, 32, after.version)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}"><rect width="100%" height="100%" fill="#fff"/>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{OLD}"/></marker></defs>'
        f"{legend}{''.join(parts)}"
        f"{_text(WIDTH - RIGHT, HEIGHT - 14, f'{after.model}: multiply-adds of one draw', 'end')}"
        f"{_text(LEFT - 10, TOP - 6, 'accuracy', 'end')}</svg>\n"
    )


class _Frame:
    """Axes of the plot: multiply-adds on a logarithmic axis, accuracy on a linear one."""

    def __init__(self, levels: list[Level]) -> None:
        works = [max(level.multiply_adds, 1) for level in levels]
        accuracies = [level.metrics.accuracy for level in levels]
        self.works = log10(min(works)) - 0.1, log10(max(works)) + 0.15
        room = max(max(accuracies) - min(accuracies), 0.01) * 0.15
        self.accuracies = min(accuracies) - room, max(accuracies) + room

    def place(self, level: Level) -> tuple[float, float]:
        """Return x and y of a level's point."""
        return self._x(log10(max(level.multiply_adds, 1))), self._y(level.metrics.accuracy)

    def grid(self) -> list[str]:
        """Return the lines and numbers of the axes."""
        first, last = self.works
        decades = range(floor(first), ceil(last) + 1)
        works = [step * 10**decade for decade in decades for step in STEPS if first <= log10(step * 10**decade) <= last]
        low, high = self.accuracies
        step = next(step for step in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25) if (high - low) / step <= 10)
        shares = [number * step for number in range(ceil(low / step), floor(high / step) + 1)]
        lines = [_line(self._x(log10(work)), TOP, self._x(log10(work)), HEIGHT - BOTTOM) for work in works]
        lines += [_line(LEFT, self._y(share), WIDTH - RIGHT, self._y(share)) for share in shares]
        numbers = [_text(self._x(log10(work)), HEIGHT - BOTTOM + 20, _short(work), "middle") for work in works]
        numbers += [_text(LEFT - 10, self._y(share) + 4, f"{share:.1%}", "end") for share in shares]
        return lines + numbers

    def _x(self, work: float) -> float:
        first, last = self.works
        return LEFT + (work - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def _y(self, accuracy: float) -> float:
        low, high = self.accuracies
        return HEIGHT - BOTTOM - (accuracy - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _short(work: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if work >= size:
            return f"{work / size:g} {letter}"
    return f"{work:g}"


def _dot(place: tuple[float, float], fill: str, stroke: str) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5" fill="{fill}" stroke="{stroke}" stroke-width="2"/>'


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{OLD}" marker-end="url(#tip)"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{FAINT}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
