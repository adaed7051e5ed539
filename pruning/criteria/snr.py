"""Score weights by squared signal-to-noise ratio μ²/σ².

Source: Graves 2011; Blundell et al. 2015; Sharma and Jennings 2020. Squares rank as ratios do, and are additive: half
of one approximates the increase of the loss in nats when the weight is removed, if σ² is the inverse of the loss's
curvature.
"""

from __future__ import annotations

from torch import Tensor

from pruning.criteria.inputs import Inputs
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return μ²/σ² of each weight."""
    return (weight.mean / weight.scale).square()
