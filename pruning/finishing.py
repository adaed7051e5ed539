"""What is done to levels once they are pruned: layers lose their scales, convolutions are computed in eight bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pruning.errors import LevelError
from pruning.level import DENSE, Level
from pruning.pruner import Pruning

# The largest Jensen-Shannon distance, the root of ln 2, rounded down.
MOST = 0.83
EVERY = "all"


@dataclass(frozen=True)
class Finishing:
    """For every level but the dense one, or for those that are named: budgets of scale pruning, and eight bits.

    How far the answers of a level can move depends on the spread of its posterior, so that one budget may leave some
    levels no randomness at all and others all of theirs.
    """

    budget: float = 0.0
    budgets: Mapping[Level, float] = field(default_factory=dict)
    eight_bits: bool = False
    in_eight_bits: Collection[Level] = ()

    @classmethod
    def parse(cls, budgets: str, eight_bits: str) -> Finishing:
        """From 0.05 or p80=0.04,x4=0.07, and from all or p80,x4 or nothing; raise LevelError for other texts."""
        bits = [part.strip() for part in eight_bits.split(",") if part.strip()]
        every, levels = bits == [EVERY], () if bits == [EVERY] else tuple(map(Level.parse, bits))
        if "=" not in budgets:
            return cls(_budget(budgets), {}, every, levels)
        parts = [part.partition("=") for part in budgets.split(",")]
        return cls(0.0, {Level.parse(name): _budget(value) for name, _, value in parts}, every, levels)

    def check(self, levels: Collection[Level]) -> None:
        """Raise LevelError where a level is named that is none of these."""
        for level in (*self.budgets, *self.in_eight_bits):
            if level not in levels or level == DENSE:
                known = ", ".join(each.name for each in levels if each != DENSE)
                raise LevelError(f"there is a scale budget or eight bits for {level.name}: expected some of {known}")

    def of(self, how: Pruning, level: Level) -> Pruning:
        """How one level is pruned and finished; what all others are compared with stays as it is."""
        if level == DENSE:
            return how
        bits = self.eight_bits or level in self.in_eight_bits
        return replace(how, scale_budget=self.budgets.get(level, self.budget), eight_bits=bits)


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
