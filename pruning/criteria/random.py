"""Score weights at random, the baseline that every criterion must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, prior_scale: float, generator: torch.Generator) -> Tensor:
    """Return a uniform random number from 0 to 1 for each weight."""
    return torch.rand(weight.mean.shape, generator=generator)
