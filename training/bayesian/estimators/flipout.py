"""Flipout: one perturbation for the batch, decorrelated by random signs per example (Wen et al. 2018).

    y_n = x_n ∗ μ + ((x_n ⊙ s_n) ∗ (σ ⊙ ε)) ⊙ r_n,  ε ~ N(0, I),  s_n and r_n signs per input and output channel

Signs belong to an example, the first axis of a batch, and to a channel: all positions of an example (pixels, tokens)
and all calls in a pass see one weight, so the joint distribution of an example's outputs is that of `reparam`. Examples
are uncorrelated, so the gradient has a lower variance, at the cost of two products per step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.bayesian.layers import BayesianLayer, random_signs
from training.errors import ConversionError


def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
    """Return one random output; every example has a pseudo-independent weight of its own.

    Raises ConversionError where a second call in a pass has another number of examples: their weights have no order.
    """
    perturbation = layer.masked_scale() * layer.drawn_once("weight", lambda: torch.randn_like(layer.mean))
    centre = layer.apply_weight(x, layer.masked_mean(), layer.bias)
    around = layer.apply_weight(x * _signs(layer, x, "inputs"), perturbation, None)
    # In place: no backward pass needs either tensor.
    return centre.add_(around.mul_(_signs(layer, around, "outputs")))


def _signs(layer: BayesianLayer, x: Tensor, part: str) -> Tensor:
    signs, shape = layer.drawn_once(part, lambda: random_signs(layer, x)), layer.sign_shape(x)
    if signs.numel() != math.prod(shape):
        raise ConversionError(
            f"{layer.path}: flipout cannot call a layer twice in a pass with other numbers of examples: use reparam"
        )
    return signs.view(shape).to(x.dtype)
