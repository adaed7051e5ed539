"""Granularities: what is removed at once. One file each, built alike: the rule, `select`.

`select(network, posterior, scores, sparsity)` gives the mask that removes `sparsity` of the random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pruning.errors import UnknownNameError
from pruning.granularity import channel, weight
from pruning.mask import Mask
from pruning.network import Network
from training.posterior import Posterior

Granularity = Callable[[Network, Posterior, Mapping[str, Tensor], float], Mask]
GRANULARITIES: dict[str, Granularity] = {"weight": weight.select, "channel": channel.select}


def granularity(name: str) -> Granularity:
    """The granularity called `name`; raise UnknownNameError, listing what there is, for an unknown one."""
    if name not in GRANULARITIES:
        raise UnknownNameError(f"unknown granularity {name!r}: there is {', '.join(GRANULARITIES)}")
    return GRANULARITIES[name]
