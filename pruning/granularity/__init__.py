"""Granularities: what is removed at once. One file each, built alike: the rule, `select`.

`select(network, posterior, scores, budget, ranking, timings)` gives what, applied to the posterior, leaves at most the
budget of it. `ranking` is `global` over the whole network, or `layer`: every layer loses the same share. Raises
LevelError for a budget that asks for more than can go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from pruning.cost.budget import UNITS, Budget
from pruning.cost.latency import Timings
from pruning.errors import LevelError, NotFoundError
from pruning.granularity import channel, weight
from pruning.graph.network import Network
from pruning.level import Level
from training.bayesian.posterior import Posterior

RANKINGS = ("global", "layer")


class Removal(Protocol):
    """What is removed: a mask or a narrowing."""

    def apply(self, posterior: Posterior) -> Posterior:
        """The posterior without it."""


Granularity = Callable[[Network, Posterior, Mapping[str, Tensor], Budget, str, Timings], Removal]
GRANULARITIES: dict[str, Granularity] = {"weight": weight.select, "channel": channel.select}


def granularity(name: str) -> Granularity:
    """The granularity called `name`; raise UnknownNameError, listing what there is, for an unknown one."""
    if name not in GRANULARITIES:
        raise NotFoundError(f"unknown granularity {name!r}: there is {', '.join(GRANULARITIES)}")
    return GRANULARITIES[name]


def check_level(name: str, level: Level) -> None:
    """Raise LevelError for a level that a granularity cannot reach."""
    if name == "weight" and level.kind in UNITS and level.kind != "p":
        unit = UNITS[level.kind]
        raise LevelError(
            f"{level.name}: zeros among weights save no {unit}: choose channel granularity, or levels like p80"
        )


def check_ranking(name: str) -> str:
    """The ranking's name; raise UnknownNameError, listing what there is, for an unknown one."""
    if name not in RANKINGS:
        raise NotFoundError(f"unknown ranking {name!r}: there is {', '.join(RANKINGS)}")
    return name
