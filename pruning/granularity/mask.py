"""Which weights are left, and the posterior under it. Pruned means mean and scale exactly zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from training.bayesian.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Mask:
    """`weights`: bool, True where a random weight stays, by its name."""

    weights: Mapping[str, Tensor]

    def apply(self, posterior: Posterior) -> Posterior:
        """The posterior with every weight that is not left at exactly zero."""
        weights = {
            name: GaussianWeight(weight.mean * self.weights[name], weight.scale * self.weights[name])
            for name, weight in posterior.weights.items()
        }
        return Posterior(weights, posterior.rest)


def weights_left(posterior: Posterior) -> int:
    """How many random weights are not pruned."""
    return sum(int(((w.mean != 0) | (w.scale > 0)).sum()) for w in posterior.weights.values())
