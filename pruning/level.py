"""Name pruning levels, and state what each keeps.

dense   everything
p80     20 % of the random weights: 80 % are pruned
x4      at most a quarter of the dense network's multiply-adds
t500    what computes one draw of one image in at most 500 microseconds on one thread of this machine
auto    the weights that the model evidence favours; named by the per cent of weights pruned, such as p46
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
        """Parse a level's name; raise LevelError for any other text."""
        name = text.strip()
        if name == "dense":
            return DENSE
        match = re.fullmatch(r"([pxt])([1-9]\d{0,8})", name)
        if match is None:
            raise LevelError(f"{name!r} is not a level: {EXPECTED}")
        kind, amount = match[1], int(match[2])
        if (kind == "p" and amount > 99) or (kind == "x" and amount < 2):
            raise LevelError(f"{name!r} is not a level: {EXPECTED}")
        return cls(kind, amount)

    @property
    def name(self) -> str:
        """Return the name, as manifests write it."""
        return "dense" if self.kind == "dense" else f"{self.kind}{self.amount}"

    def of_members(self, members: int) -> str:
        """Return the name of this level of a mixture, such as x4-m4; that of one member is `name`."""
        return self.name if members == 1 else f"{self.name}-m{members}"

    @property
    def severity(self) -> int:
        """Return a number that grows with how much a level of its kind removes."""
        return -self.amount if self.kind == "t" else self.amount


DENSE = Level("dense")


def parse_levels(text: str, auto_level: Callable[[], Level] = lambda: DENSE) -> list[Level]:
    """Parse levels separated by commas and sort them; `dense` is always one, `auto_level` resolves `auto`."""
    names = [name for part in text.split(",") if (name := part.strip())]
    return sort_levels({DENSE, *(auto_level() if name == "auto" else Level.parse(name) for name in names)})


def sort_levels(levels: Iterable[Level]) -> list[Level]:
    """Sort by kind, then from least to most pruned."""
    return sorted(levels, key=lambda level: (KINDS.index(level.kind), level.severity))


def chains(levels: Sequence[Level]) -> list[list[Level]]:
    """Group all levels but `dense` by kind; gradual pruning starts each level from the one before it in its list."""
    return [chain for kind in KINDS[1:] if (chain := [level for level in levels if level.kind == kind])]
