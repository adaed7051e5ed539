"""Choose what to remove at a granularity: single weights or whole channels. One file each, built alike.

Each file has `choose_removal(network, posterior, scores, budget, ranking, timings)`. Applied to the posterior, the
removal leaves at most the budget. `ranking` is `global`, over the whole network, or `layer`, by which every layer loses
the same share. Raises LevelError for a budget that cannot be met.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from pruning.cost.budget import UNITS, Budget
from pruning.cost.latency import Timings
from pruning.criteria.inputs import Scores
from pruning.errors import LevelError, NotFoundError
from pruning.granularity import channel, weight
from pruning.graph.network import Network
from pruning.level import Level
from training.bayesian.posterior import Posterior

RANKINGS = ("global", "layer")


class Removal(Protocol):
    """A mask of weights or a narrowing of channels."""

    def apply(self, posterior: Posterior) -> Posterior:
        """Return the posterior without what is removed."""

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """Return what is left of a tensor of the shape of the parameter called `name`."""


Granularity = Callable[[Network, Posterior, Scores, Budget, str, Timings], Removal]
GRANULARITIES: dict[str, Granularity] = {"weight": weight.choose_removal, "channel": channel.choose_removal}


def granularity(name: str) -> Granularity:
    """Return the granularity called `name`; raise NotFoundError, listing all granularities, for an unknown name."""
    if name not in GRANULARITIES:
        raise NotFoundError(f"unknown granularity {name!r}: there is {', '.join(GRANULARITIES)}")
    return GRANULARITIES[name]


def check_level(name: str, level: Level) -> None:
    """Raise LevelError for a level that the granularity cannot reach."""
    if name == "weight" and level.kind in UNITS and level.kind != "p":
        unit = UNITS[level.kind]
        raise LevelError(
            f"{level.name}: zeros among weights save no {unit}: choose channel granularity, or levels like p80"
        )


def check_ranking(name: str) -> str:
    """Return the ranking's name; raise NotFoundError, listing all rankings, for an unknown name."""
    if name not in RANKINGS:
        raise NotFoundError(f"unknown ranking {name!r}: there is {', '.join(RANKINGS)}")
    return name
