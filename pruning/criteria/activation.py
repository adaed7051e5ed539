"""Score weights by the energy that they add to a layer's output, μ² E[a²] of the activation a that they read.

Source: Sun et al. 2023 (Wanda), squared so that scores add up; for channels, ThiNet (Luo et al. 2017) without search.

A layer's scores are divided by their sum. Batch normalisation divides by the output's size, so the share of a layer's
energy is what compares between layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criteria.inputs import Inputs
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return μ² E[a²] of each weight [out, in, …], as a share of the layer's sum."""
    assert inputs.activations is not None
    moments = inputs.activations.second_moment
    energy = weight.mean.square() * moments.view(1, -1, *[1] * (weight.mean.dim() - 2))
    return energy / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
