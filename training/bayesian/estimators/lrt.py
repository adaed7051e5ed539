"""Local reparameterisation: outputs drawn from their own mean and variance (Kingma et al. 2015).

    y_n = x_n ∗ μ + b + √(x_n² ∗ σ²) ⊙ ε_n,  ε_n = r_n ⊙ ε,  ε ~ N(0, I),  r_n signs per output channel

Each example's noise is independent over channels and positions, as in the paper; examples share one ε under random
signs of their own. This keeps every example's distribution and makes examples uncorrelated (gradients see the shared ε
only through batch normalisation), and draws one number instead of one per example. The noise is independent per
position (pixel, token), so the correlation of positions under a drawn weight is lost, and a mean over T positions has a
standard deviation smaller by up to √T: lrt is for training only, predictions draw weights. For the same reason two
calls of one layer cannot share a draw, and the second call in a pass is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.bayesian.layers import BayesianLayer, random_signs
from training.errors import ConversionError

# Keeps the square root's gradient finite where every input is zero; noise of 1e-15 is negligible.
MIN_VARIANCE = 1e-30


def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
    """Return one random output; every example has noise of its own.

    Raises ConversionError at the second call in a pass.
    """
    if layer.noise:
        raise ConversionError(
            f"{layer.path}: lrt draws outputs, so a layer that is called twice in a pass would have two weights: "
            "use reparam or flipout"
        )
    mean = layer.apply_weight(x, layer.masked_mean(), layer.bias)
    var = _variance(layer, x, mean.dtype)
    if x.dim() != 1 - layer.channel_dim:  # torch returns a view then, which cannot be overwritten in place
        mean, var = mean.clone(), var.clone()
    noise = layer.drawn_once("outputs", lambda: _noise_of_one(layer, mean))
    noisy, _ = _Noisy.apply(mean, var, noise, random_signs(layer, mean))  # type: ignore[no-untyped-call]
    return noisy  # type: ignore[no-any-return]


def _variance(layer: BayesianLayer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x² ∗ σ², in float32 where the output is float16: squares of small scales are zero there."""
    if dtype != torch.float16:
        return layer.apply_weight(_square(x), _square(layer.masked_scale()), None)
    with torch.autocast(x.device.type, enabled=False):
        return layer.apply_weight(_square(x.float()), _square(layer.masked_scale().float()), None)


def _noise_of_one(layer: BayesianLayer, mean: Tensor) -> Tensor:
    """Draw ε for the outputs of one example."""
    one = mean[:1] if layer.batched(mean) else mean
    # Channels last, as convolution outputs: with another memory format the sum would take five times as long.
    return torch.randn_like(one.movedim(layer.channel_dim, -1)).movedim(-1, layer.channel_dim)


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
        return gradients[0], (gradients[0] * noise).to(signed_std.dtype).div_(signed_std), None, None
