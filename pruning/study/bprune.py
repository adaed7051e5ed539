"""BPrune's own rule, as a baseline: what its authors' package does to a posterior (Sharma and Jennings 2020).

Weights with a signal-to-noise ratio below the threshold get a mean of zero and a parameter before the softplus of
zero, which leaves them a scale of softplus(0) = 0.693: what was to be removed becomes noise. There is no fine-tuning.
"""

from __future__ import annotations

import math

import torch

from pruning.granularity.mask import Mask
from training.bayesian.posterior import GaussianWeight, Posterior

SCALE_LEFT = math.log(2)


def bprune(posterior: Posterior, mask: Mask) -> Posterior:
    """The posterior as BPrune leaves it where a mask removes weights."""
    weights = {}
    for name, weight in posterior.weights.items():
        kept = mask.weights[name]
        scale = torch.where(kept, weight.scale, SCALE_LEFT)
        weights[name] = GaussianWeight(weight.mean * kept, scale)
    return Posterior(weights, posterior.rest)
