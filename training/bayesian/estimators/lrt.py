"""Local reparameterisation: outputs drawn from their own mean and variance (Kingma et al. 2015).

    y_n = x_n ∗ μ + b + √(x_n² ∗ σ²) ⊙ ε_n,  ε_n = r_n ⊙ ε,  ε ~ N(0, I),  r_n signs per output channel

Each example's noise is independent over channels and positions, as in the paper; examples share one ε under random
signs of their own. This keeps every example's distribution and makes examples uncorrelated (gradients see the shared ε
only through batch normalisation), and draws one number instead of one per example. For convolutions the noise is
independent per position, so the spatial correlation under a drawn weight is lost: lrt is for training only, predictions
draw weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.bayesian.layers import BayesianLayer, random_signs

# Keeps the square root's gradient finite where every input is zero; noise of 1e-15 is negligible.
MIN_VARIANCE = 1e-30


def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
    """Return one random output; every example has noise of its own."""
    mean = layer.apply_weight(x, layer.masked_mean(), layer.bias)
    var = layer.apply_weight(_square(x), _square(layer.masked_scale()), None)
    # Channels last, as convolution outputs: with another memory format the sum would take five times as long.
    noise = torch.randn_like(mean[:1].movedim(1, -1)).movedim(-1, 1)
    noisy, _ = _Noisy.apply(mean, var, noise, random_signs(mean))  # type: ignore[no-untyped-call]
    return noisy  # type: ignore[no-any-return]


def _square(tensor: Tensor) -> Tensor:
    return _Square.apply(tensor)  # type: ignore[no-any-return, no-untyped-call]


class _Square(torch.autograd.Function):
    """Square with half the true derivative; `_Noisy.backward` applies the factor of two."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.save_for_backward(tensor)
        return tensor * tensor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (tensor,) = ctx.saved_tensors
        return gradients[0] * tensor  # type: ignore[no-any-return]


class _Noisy(torch.autograd.Function):
    """mean + √var ⊙ ε ⊙ r, in place, since no other operator reads mean and var.

    The derivative by var is twice the true one: it leaves out the root's ½, which cancels the 2 left out by `_Square`;
    applying either would cost a pass over memory.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, var: Tensor, noise: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        signed_std = var.clamp_(min=MIN_VARIANCE).sqrt_().mul_(signs)
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(mean, var)
        ctx.save_for_backward(signed_std, noise)
        return mean.add_(signed_std * noise), signed_std

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        signed_std, noise = ctx.saved_tensors
        return gradients[0], (gradients[0] * noise).div_(signed_std), None, None
