"""Say what a level's draws gain over its mean network, one pass at a temperature of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rich.table import Column, Table

from model_store.manifest import MeanNetwork
from model_store.reports.terminal import cell

DRAWS_ADD_NOTHING = "draws add nothing here: the gain is not above two standard errors"
HEADERS = ("draws", "mean: T", "accuracy", "NLL", "ECE", "draws gain, nats")


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
        mean = level.mean_network
        figures = ["—"] * (len(HEADERS) - 1)
        if mean is not None:
            gain = gain_text(mean) + ("" if mean.draws_gain else ", nothing")
            figures = [f"{mean.temperature:.3f}", f"{mean.accuracy:.2%}", f"{mean.nll:.4f}", f"{mean.ece:.4f}", gain]
        table.add_row(cell(level.name), str(level.draws), *figures)
    return table
