"""Score the importance of weights; the lowest scores are pruned first. One file per criterion, all built alike.

Each file has the source, the formula and `score(weight, prior_scale, generator)`, float32 of the weight's shape. Scores
are additive: a channel's score is the sum of its weights' scores. A pruned weight scores minus infinity.
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
    """A score, and whether it requires a positive scale of every unpruned weight."""

    name: str
    score: Score
    needs_scales: bool

    def scores(self, posterior: Posterior, prior_scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Score each random weight by name; pruned weights get minus infinity.

        Raises PosteriorError for values that are not finite, and for missing scales if the criterion needs them.
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
    """Return the criterion called `name`; raise NotFoundError, listing all criteria, for an unknown name."""
    if name not in CRITERIA:
        raise NotFoundError(f"unknown criterion {name!r}: there is {', '.join(CRITERIA)}")
    return CRITERIA[name]
