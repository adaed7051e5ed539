"""Score the importance of weights; the lowest scores are pruned first. One file per criterion, all built alike.

Each file has the source, the formula and `score(weight, inputs)`, float32 of the weight's shape. Scores are additive: a
channel's score is the sum of its weights' scores. A pruned weight scores minus infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.criteria import activation, free_energy, gate_fisher, magnitude, random, snr
from pruning.criteria.inputs import Activations, Inputs, Scores
from pruning.errors import NotFoundError, PosteriorError
from training.bayesian.posterior import GaussianWeight, Posterior

Score = Callable[[GaussianWeight, Inputs], Tensor]


@dataclass(frozen=True)
class Criterion:
    """A score, and what it needs.

    `needs_scales` requires a positive scale of every unpruned weight; `reads_activations` requires those of each
    layer's input, by which channels are scored from the weights that read them alone.
    """

    name: str
    score: Score
    needs_scales: bool = False
    reads_activations: bool = False

    def scores(
        self,
        posterior: Posterior,
        prior_scale: float,
        generator: torch.Generator,
        activations: Mapping[str, Activations] | None = None,
    ) -> Scores:
        """Score each weight by name, with the `activations` of its layer's input; pruned weights get minus infinity.

        Raises PosteriorError for values that are not finite, and for missing scales if the criterion needs them.
        """
        scores = {}
        for name, weight in sorted(posterior.weights.items()):
            self._check(name, weight)
            pruned = (weight.mean == 0) & (weight.scale == 0)
            inputs = Inputs(prior_scale, generator, None if activations is None else activations[name])
            scores[name] = self.score(weight, inputs).masked_fill(pruned, -torch.inf)
        return Scores(scores, readers_only=self.reads_activations)

    def _check(self, name: str, weight: GaussianWeight) -> None:
        if not (weight.mean.isfinite().all() and weight.scale.isfinite().all()):
            raise PosteriorError(f"the posterior of {name} holds values that are not finite")
        if self.needs_scales and ((weight.scale == 0) & (weight.mean != 0)).any():
            raise PosteriorError(
                f"the posterior of {name} has weights with a scale of zero, which {self.name} cannot rank: "
                "choose another criterion, or a run whose layers are all random"
            )


CRITERIA: Mapping[str, Criterion] = {
    each.name: each
    for each in (
        Criterion("snr", snr.score, needs_scales=True),
        Criterion("free_energy", free_energy.score, needs_scales=True),
        Criterion("activation", activation.score, reads_activations=True),
        Criterion("gate_fisher", gate_fisher.score, reads_activations=True),
        Criterion("magnitude", magnitude.score),
        Criterion("random", random.score),
    )
}


def criterion(name: str) -> Criterion:
    """Return the criterion called `name`; raise NotFoundError, listing all criteria, for an unknown name."""
    if name not in CRITERIA:
        raise NotFoundError(f"unknown criterion {name!r}: there is {', '.join(CRITERIA)}")
    return CRITERIA[name]
