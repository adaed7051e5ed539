"""Signal-to-noise ratio |μ|/σ (Graves 2011; Blundell et al. 2015; Sharma and Jennings 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.posterior import GaussianWeight


def score(weight: GaussianWeight) -> Tensor:
    """The ratio for each weight, same shape; zero for a pruned weight, infinite for one without noise."""
    ratio = weight.mean.abs() / weight.scale
    return torch.where(weight.mean == 0, torch.zeros_like(ratio), ratio)
