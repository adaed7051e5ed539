"""Names of levels. A level is named by what it removes: `dense` nothing, `p80` eighty per cent of the weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pruning.errors import LevelError


@dataclass(frozen=True, order=True)
class Level:
    """A pruning level; `sparsity` is the share of random weights to remove."""

    sparsity: float
    name: str

    @classmethod
    def parse(cls, text: str) -> Level:
        """`dense`, or `p` and a whole number of per cent from 1 to 99; raise LevelError otherwise."""
        name = text.strip()
        if name == "dense":
            return cls(0.0, name)
        if re.fullmatch(r"p[1-9]\d?", name) is None:
            raise LevelError(f"{name!r} is no level: expected dense, or p and a whole number from 1 to 99 such as p80")
        return cls(int(name[1:]) / 100, name)


def parse_levels(text: str) -> list[Level]:
    """Levels separated by commas, least pruned first, always with `dense`."""
    levels = {Level.parse(part) for part in text.split(",") if part.strip()}
    return sorted(levels | {Level.parse("dense")})
