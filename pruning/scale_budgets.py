"""Budgets of scale pruning: one for every level but the dense one, or one for each level that is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pruning.errors import LevelError
from pruning.level import DENSE, Level

# The largest Jensen-Shannon distance, the root of ln 2, rounded down.
MOST = 0.83


@dataclass(frozen=True)
class ScaleBudgets:
    """How far the answers of each level may move for layers without scales, in Jensen-Shannon distance.

    How far the answers of a level can move depends on the spread of its posterior, so that one number may leave some
    levels no randomness at all and others all of theirs.
    """

    every: float = 0.0
    named: Mapping[Level, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ScaleBudgets:
        """From a number such as 0.05, or levels with theirs such as p80=0.04,x4=0.07; raise LevelError otherwise."""
        if "=" not in text:
            return cls(_budget(text))
        parts = [part.partition("=") for part in text.split(",")]
        return cls(named={Level.parse(name): _budget(value) for name, _, value in parts})

    def check(self, levels: Collection[Level]) -> None:
        """Raise LevelError where a level is named that is none of these."""
        for level in self.named:
            if level not in levels:
                known = ", ".join(each.name for each in levels)
                raise LevelError(f"there is a scale budget for {level.name}, which is none of the levels: {known}")

    def of(self, level: Level) -> float:
        """The budget of one level; what all others are compared with stays as it is."""
        return 0.0 if level == DENSE else self.named.get(level, self.every)


def _budget(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST:
        raise LevelError(
            f"{text.strip()!r} is no scale budget: expected a number from 0 to {MOST}, or levels with theirs"
        )
    return value
