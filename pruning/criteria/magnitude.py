"""Score weights by squared magnitude μ² (Han et al. 2015), a baseline that ignores the posterior's scales."""

from __future__ import annotations

import torch
from torch import Tensor

from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, prior_scale: float, generator: torch.Generator) -> Tensor:
    """Return μ² of each weight."""
    return weight.mean.square()
