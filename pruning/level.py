"""Names of levels, and what each asks for.

dense   nothing removed
p80     80 per cent of the random weights removed
x4      at most a quarter of the dense network's multiply-adds
t500    one draw for one image in at most 500 microseconds of one thread of this machine
auto    every weight removed that the evidence is better without; named by the share that this was
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pruning.errors import LevelError

KINDS = ("dense", "p", "x", "t")
EXPECTED = (
    "expected dense, p and a per cent from 1 to 99 such as p80, x and a ratio of multiply-adds from 2 such as x4, "
    "t and microseconds such as t500, or auto"
)


@dataclass(frozen=True)
class Level:
    """A pruning level: `kind` is one of KINDS, `amount` the number after it."""

    kind: str
    amount: int = 0

    @classmethod
    def parse(cls, text: str) -> Level:
        """The level of this name; raise LevelError for another text."""
        name = text.strip()
        if name == "dense":
            return DENSE
        found = re.fullmatch(r"([pxt])([1-9]\d{0,8})", name)
        if found is None:
            raise LevelError(f"{name!r} is no level: {EXPECTED}")
        kind, amount = found[1], int(found[2])
        if (kind == "p" and amount > 99) or (kind == "x" and amount < 2):
            raise LevelError(f"{name!r} is no level: {EXPECTED}")
        return cls(kind, amount)

    @property
    def name(self) -> str:
        """As it is written in a manifest."""
        return "dense" if self.kind == "dense" else f"{self.kind}{self.amount}"

    @property
    def severity(self) -> int:
        """Grows with what a level of its kind removes."""
        return -self.amount if self.kind == "t" else self.amount


DENSE = Level("dense")


def parse_levels(text: str, automatic: Callable[[], Level] = lambda: DENSE) -> list[Level]:
    """Levels separated by commas, in order, always with `dense`; `automatic` gives what `auto` stands for."""
    names = [name for part in text.split(",") if (name := part.strip())]
    return in_order({DENSE, *(automatic() if name == "auto" else Level.parse(name) for name in names)})


def in_order(levels: Iterable[Level]) -> list[Level]:
    """Kind by kind, least pruned first."""
    return sorted(levels, key=lambda level: (KINDS.index(level.kind), level.severity))


def chains(levels: Sequence[Level]) -> list[list[Level]]:
    """The levels but `dense` by kind: in each list every level starts from the one before it."""
    return [chain for kind in KINDS[1:] if (chain := [level for level in levels if level.kind == kind])]
