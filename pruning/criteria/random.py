"""Score weights at random, the baseline that every criterion must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criteria.inputs import Inputs
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return a uniform random number from 0 to 1 for each weight."""
    return torch.rand(weight.mean.shape, generator=inputs.generator)
