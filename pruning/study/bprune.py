"""Apply BPrune's own pruning rule, as a baseline (Sharma and Jennings 2020).

Weights with a signal-to-noise ratio below the threshold get a mean of zero and a parameter before the softplus of zero,
hence a scale of softplus(0) = 0.693: pruned weights become noise. There is no fine-tuning.
"""

from __future__ import annotations

import math

import torch

from pruning.granularity.mask import Mask
from training.bayesian.posterior import GaussianWeight, Posterior

SCALE_LEFT = math.log(2)


def bprune(posterior: Posterior, mask: Mask) -> Posterior:
    """Return the posterior that BPrune leaves, given the mask of weights to prune."""
    weights = {}
    for name, weight in posterior.weights.items():
        kept = mask.kept[name]
        scale = torch.where(kept, weight.scale, SCALE_LEFT)
        weights[name] = GaussianWeight(weight.mean * kept, scale)
    return Posterior(weights, posterior.rest)
