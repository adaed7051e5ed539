"""Criteria: what a weight is worth; what is worth least goes first. One file each, built alike.

Each has the source, the formula and `score(weight, prior_scale, generator)`: float32 of the weight's shape. Scores add
up, so that a channel is worth what its weights are worth together. A weight that is pruned already has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.criteria import free_energy, magnitude, random, snr
from pruning.errors import NotFoundError, PosteriorError
from training.bayesian.posterior import GaussianWeight, Posterior

Score = Callable[[GaussianWeight, float, torch.Generator], Tensor]


@dataclass(frozen=True)
class Criterion:
    """`score`, and whether it needs every weight that is left to have a scale."""

    name: str
    score: Score
    needs_scales: bool

    def scores(self, posterior: Posterior, prior_scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What each random weight is worth, minus infinity where it is pruned already.

        Raises PosteriorError for a posterior with values that are not finite, or without scales that are needed.
        """
        scores = {}
        for name, weight in sorted(posterior.weights.items()):
            self._check(name, weight)
            pruned = (weight.mean == 0) & (weight.scale == 0)
            scores[name] = self.score(weight, prior_scale, generator).masked_fill(pruned, -torch.inf)
        return scores

    def _check(self, name: str, weight: GaussianWeight) -> None:
        if not (weight.mean.isfinite().all() and weight.scale.isfinite().all()):
            raise PosteriorError(f"the posterior of {name} holds values that are not finite")
        if self.needs_scales and ((weight.scale == 0) & (weight.mean != 0)).any():
            raise PosteriorError(
                f"the posterior of {name} has weights with a scale of zero, which {self.name} cannot rank: "
                "choose magnitude, or a run with another estimator than none"
            )


CRITERIA: Mapping[str, Criterion] = {
    each.name: each
    for each in (
        Criterion("snr", snr.score, needs_scales=True),
        Criterion("free_energy", free_energy.score, needs_scales=True),
        Criterion("magnitude", magnitude.score, needs_scales=False),
        Criterion("random", random.score, needs_scales=False),
    )
}


def criterion(name: str) -> Criterion:
    """The criterion called `name`; raise UnknownNameError, listing what there is, for an unknown one."""
    if name not in CRITERIA:
        raise NotFoundError(f"unknown criterion {name!r}: there is {', '.join(CRITERIA)}")
    return CRITERIA[name]
