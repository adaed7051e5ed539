"""Mask single weights. A pruned weight has mean and scale exactly zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from training.bayesian.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Mask:
    """A removal of weights; `kept` is bool, by the weight's name, False where a weight is pruned."""

    kept: Mapping[str, Tensor]

    def apply(self, posterior: Posterior) -> Posterior:
        """Set the mean and scale of all pruned weights to zero."""
        weights = {
            name: GaussianWeight(self.cut(name, weight.mean), self.cut(name, weight.scale))
            for name, weight in posterior.weights.items()
        }
        return Posterior(weights, posterior.rest)

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """Set what belongs to pruned weights to zero, in a tensor of the shape of the parameter called `name`."""
        return tensor * self.kept[name].to(tensor.device) if name in self.kept else tensor


def weights_left(posterior: Posterior) -> int:
    """Count the random weights that are not pruned."""
    return sum(int(((w.mean != 0) | (w.scale > 0)).sum()) for w in posterior.weights.values())
