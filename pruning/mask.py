"""Which weights are left, and the posterior under it. Pruned means mean and scale exactly zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Mask:
    """`weights`: bool, True where a random weight stays; `rest`: the same for deterministic parameters, where cut."""

    weights: Mapping[str, Tensor]
    rest: Mapping[str, Tensor]

    def apply(self, posterior: Posterior) -> Posterior:
        """The posterior with everything that is not left at exactly zero."""
        weights = {
            name: GaussianWeight(weight.mean * self.weights[name], weight.scale * self.weights[name])
            for name, weight in posterior.weights.items()
        }
        rest = {name: value * self.rest[name] if name in self.rest else value for name, value in posterior.rest.items()}
        return Posterior(weights, rest)

    @torch.no_grad()
    def hold(self, module: nn.Module) -> None:
        """Put the deterministic parameters of a network back to zero where cut, after a step moved them."""
        parameters = dict(module.named_parameters())
        for name, kept in self.rest.items():
            parameters[name].mul_(kept)


def sparsity(posterior: Posterior) -> float:
    """Share of the random weights that are pruned."""
    kept = sum(int(((w.mean != 0) | (w.scale > 0)).sum()) for w in posterior.weights.values())
    return 1 - kept / sum(w.mean.numel() for w in posterior.weights.values())
