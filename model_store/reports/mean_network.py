"""Say what a level's draws gain over its mean network, one pass at a temperature of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import Level, MeanNetwork
from model_store.reports.terminal import cell
from model_store.small_samples import DrawsGain

HEADERS = ("draws", "mean: T", "accuracy", "NLL", "ECE", "draws gain")


class DrawsFigures(Protocol):
    """Figures of a level that the table shows, from a manifest or from a service's listing."""

    @property
    def name(self) -> str: ...
    @property
    def draws(self) -> int: ...
    @property
    def mean_network(self) -> MeanNetwork | None: ...


def gain_text(mean: MeanNetwork) -> str:
    """Format the gain in NLL and its standard error, without their unit."""
    return f"{mean.nll_gain:.4f} ± {mean.nll_gain_error:.4f}"


def mean_table(levels: Iterable[DrawsFigures]) -> Table:
    """Build a table with one row per level: its draws, its mean network, and what draws gain over it."""
    table = Table("level", *(Column(header, justify="right") for header in HEADERS))
    for level in levels:
        table.add_row(cell(level.name), *_figures(level))
    return table


def mean_markdown(levels: Iterable[DrawsFigures]) -> str:
    """Format the same table in Markdown."""
    lines = [f"| level | {' | '.join(HEADERS)} |", "|---|" + "--:|" * len(HEADERS)]
    return "\n".join([*lines, *(f"| {level.name} | {' | '.join(_figures(level))} |" for level in levels)])


def mean_section(levels: Sequence[Level]) -> str:
    """Compare draws with the mean network in Markdown, and say where they add nothing; empty if nothing is known."""
    compared = [level for level in levels if level.mean_network is not None]
    if not compared:
        return ""
    text = (
        f"{mean_markdown(compared)}\n\n"
        "The mean network computes with the mean of every weight: one pass, at a temperature of its own, from the "
        "calibration images. The gain is how much lower the NLL of draws is, at theirs, on the test set, in nats; ± is "
        "the standard error of the paired difference."
    )
    nothing, unclear = (
        [level for level in compared if level.mean_network and level.mean_network.draws_gain is judged]
        for judged in (DrawsGain.NOTHING, DrawsGain.UNCLEAR)
    )
    if nothing:
        text += f"\n\n**Draws add nothing at {_names(nothing)}**: the gain is not above two standard errors."
    if unclear:
        text += (
            f"\n\n**Whether draws gain at {_names(unclear)} is not known**: too few images were tested, and the "
            "gain lies within two standard errors."
        )
    if single := [f"`{level.name}`" for level in nothing if level.draws <= level.members]:
        text += (
            f" Served at {', '.join(single)} is one pass of the mean network, in a mixture one of each member's, "
            "so that the epistemic part of the uncertainty is zero, or that between members; the gain is that of the "
            "draws which it was compared with."
        )
    return text


def _names(levels: Iterable[Level]) -> str:
    return ", ".join(f"`{level.name}`" for level in levels)


def _figures(level: DrawsFigures) -> list[str]:
    mean = level.mean_network
    if mean is None:
        return [str(level.draws), *["—"] * (len(HEADERS) - 1)]
    own = [f"{mean.temperature:.3f}", f"{mean.accuracy:.2%}", f"{mean.nll:.4f}", f"{mean.ece:.4f}"]
    return [str(level.draws), *own, gain_text(mean)]
