"""Score input channels by the Fisher information of a gate on them, E[(Σ a ∂L/∂a)²], the sum over positions.

Source: Theis et al. 2018; Molchanov et al. 2019. A gate g multiplies a channel's activation a. At g = 1 the gradient of
an image's loss L by it is Σ a ∂L/∂a, and half of its square's mean approximates the increase of the loss in nats when
the channel is removed.

The weights that read a channel share its score in proportion to μ².
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criteria.inputs import Inputs, by_group
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return each weight's part of the score of the input channel that it reads."""
    assert inputs.activations is not None
    squares, fisher = by_group(weight.mean.square(), inputs.activations.gate_fisher)
    shares = squares / squares.sum((1, 3), keepdim=True).clamp_min(torch.finfo(squares.dtype).tiny)
    return (shares * fisher).view_as(weight.mean)
