"""Criteria: scores of weights; what scores low goes first. One file each, built alike: source, formula, `score`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pruning.criteria import snr
from pruning.errors import UnknownNameError
from training.posterior import GaussianWeight

Criterion = Callable[[GaussianWeight], Tensor]
CRITERIA: dict[str, Criterion] = {"snr": snr.score}


def criterion(name: str) -> Criterion:
    """The criterion called `name`; raise UnknownNameError, listing what there is, for an unknown one."""
    if name not in CRITERIA:
        raise UnknownNameError(f"unknown criterion {name!r}: there is {', '.join(CRITERIA)}")
    return CRITERIA[name]
