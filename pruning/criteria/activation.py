"""Score weights by the energy that they add to what their layer computes, μ² E[a²] of the activation a that they read.

Source: Sun et al. 2023 (Wanda), squared so that scores add up; for channels, ThiNet (Luo et al. 2017) without search.

Energies of all layers are compared as they are. As shares of their layer's they let first layers go too early: digits
without 80 % of their weights, in channels and untuned, had an NLL of 0.124 instead of 0.075.
"""

from __future__ import annotations

from torch import Tensor

from pruning.criteria.inputs import Inputs, by_group
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return μ² E[a²] of each weight [out, in / groups, …]."""
    assert inputs.activations is not None
    squares, moments = by_group(weight.mean.square(), inputs.activations.second_moment)
    return (squares * moments).view_as(weight.mean)
