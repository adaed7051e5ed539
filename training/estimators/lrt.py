"""Local reparameterisation: outputs drawn from their own mean and variance (Kingma et al. 2015).

    y_n = x_n ∗ μ + b + √(x_n² ∗ σ²) ⊙ ε_n,  ε_n = r_n ⊙ ε,  ε ~ N(0, I),  r_n signs per output channel

Each example's noise is independent over channels and positions, as in the paper; examples share one ε under random
signs of their own, which leaves every example's law and all expected gradients as they were, makes examples
uncorrelated, and draws one number where the plain form draws a batch of them. For convolutions the noise is
independent per position, so the correlation over space that a drawn weight has is lost: this serves training,
predictions draw weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.layers import BayesianLayer, random_signs

# Keeps the square root's gradient finite where every input is zero; noise of 1e-15 is none.
LEAST_VARIANCE = 1e-30


def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
    """One random output, every example of the batch with noise of its own."""
    mean = layer.apply_weight(x, layer.masked_mean(), layer.bias)
    var = layer.apply_weight(x.square(), layer.masked_scale().square(), None)
    noise = torch.randn(mean.shape[1:], device=x.device, dtype=mean.dtype)
    return _Noisy.apply(mean, var, noise, random_signs(mean))  # type: ignore[no-any-return, no-untyped-call]


class _Noisy(torch.autograd.Function):
    """mean + √var ⊙ ε ⊙ r, with few passes over tensors of the output's size."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, var: Tensor, noise: Tensor, signs: Tensor) -> Tensor:
        signed_std = var.clamp(min=LEAST_VARIANCE).sqrt_().mul_(signs)
        ctx.save_for_backward(signed_std, noise)
        return torch.addcmul(mean, signed_std, noise)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        signed_std, noise = ctx.saved_tensors
        return gradients[0], (gradients[0] * (0.5 * noise)).div_(signed_std), None, None
