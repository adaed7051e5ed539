"""Reparameterisation: one weight for the whole batch (Blundell et al. 2015, Weight uncertainty in neural networks).

y = x ∗ (μ + σ ⊙ ε),  ε ~ N(0, I)
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.bayesian.layers import BayesianLayer


def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
    """Return one random output; all examples, and all calls in a pass, share one weight."""
    noise = layer.drawn_once("weight", lambda: torch.randn_like(layer.mean))
    weight = layer.masked_mean() + layer.masked_scale() * noise
    return layer.apply_weight(x, weight, layer.bias)
