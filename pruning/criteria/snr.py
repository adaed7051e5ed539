"""Squared signal-to-noise ratio μ²/σ² (Graves 2011; Blundell et al. 2015; Sharma and Jennings 2020).

Squares rank as ratios do, and add up: half of one is about what the loss in nats grows by where the weight is removed,
as long as σ² is the inverse of the loss's curvature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, prior_scale: float, generator: torch.Generator) -> Tensor:
    """μ²/σ² of each weight."""
    return (weight.mean / weight.scale).square()
