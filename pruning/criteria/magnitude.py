"""Score weights by squared magnitude μ² (Han et al. 2015), a baseline that ignores the posterior's scales."""

from __future__ import annotations

from torch import Tensor

from pruning.criteria.inputs import Inputs
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return μ² of each weight."""
    return weight.mean.square()
