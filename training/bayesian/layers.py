"""Mean-field Gaussian layers: q(w) = N(mean, scale²) for each weight, with prior N(0, prior_scale²).

The bias is deterministic. A mask marks the weights that are not pruned: a pruned weight has mean and scale exactly
zero, draws zero, and is left out of the KL divergence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.bayesian.posterior import GaussianWeight
from training.errors import ConversionError

# Forward pass of an estimator: maps a layer and its input to one random output.
Draw: TypeAlias = "Callable[[BayesianLayer, Tensor], Tensor]"


class BayesianLayer(nn.Module, ABC):
    """Base class of Bayesian layers; `draw` is the estimator of the forward pass."""

    def __init__(self, plain: nn.Conv2d | nn.Linear, draw: Draw, prior_scale: float, initial_scale: float) -> None:
        super().__init__()
        self.draw = draw
        self.prior_scale = prior_scale
        self.mean = nn.Parameter(plain.weight.detach().clone())
        self.log_scale = nn.Parameter(torch.full_like(plain.weight, math.log(initial_scale)))
        self.bias = None if plain.bias is None else nn.Parameter(plain.bias.detach().clone())
        # 1 for a weight, 0 for a pruned one. None while nothing is pruned: no pass over memory, no buffer to broadcast.
        self.mask: Tensor | None
        self.register_buffer("mask", None)

    @abstractmethod
    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply the layer's linear map with the given weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one random output, drawn by the layer's estimator."""
        return self.draw(self, x)

    def masked_mean(self) -> Tensor:
        """Return the mean of every weight, zero where pruned."""
        return self._masked(self.mean)

    def masked_scale(self) -> Tensor:
        """Return the standard deviation of every weight, zero where pruned."""
        return self._masked(self.log_scale.exp())

    def _masked(self, values: Tensor) -> Tensor:
        return values if self.mask is None else values * self.mask

    def divergence(self) -> Tensor:
        """Return KL(q‖p) of the unpruned weights, in nats."""
        mean: Tensor = self.mean
        log_scale: Tensor = self.log_scale
        if self.mask is not None:  # put pruned weights at the prior, where the divergence is zero
            at_prior = math.log(self.prior_scale)
            mean, log_scale = mean * self.mask, torch.where(self.mask > 0, log_scale, at_prior)
        divergence: Tensor = _Divergence.apply(mean, log_scale, self.prior_scale)  # type: ignore[no-untyped-call]
        return divergence

    def weight(self) -> GaussianWeight:
        """Return the layer's posterior, detached."""
        return GaussianWeight(self.masked_mean().detach().clone(), self.masked_scale().detach().clone())

    @torch.no_grad()
    def restore(self, weight: GaussianWeight) -> None:
        """Continue from a posterior; mask out, permanently, weights with mean and scale zero.

        Raises ConversionError where only the scale is zero, since the divergence of such a weight is infinite.
        """
        kept = (weight.scale > 0).to(self.mean.device)
        if bool((weight.mean[weight.scale == 0] != 0).any()):
            raise ConversionError("a weight with a mean but without a scale cannot be trained on")
        self.keep(kept)
        self.mean.copy_(weight.mean)
        scale = weight.scale.to(kept.device)
        self.log_scale[kept] = scale[kept].log()

    @torch.no_grad()
    def keep(self, kept: Tensor) -> None:
        """Mask out, permanently, weights that are False in `kept`, of the weight's shape."""
        self.mask = None if bool(kept.all()) else kept.to(self.mean.device, self.mean.dtype)


class _Divergence(torch.autograd.Function):
    """Sum of `gaussian_divergence` with closed-form gradients: μ/σ_p² and σ²/σ_p² − 1."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_scale: Tensor, prior_scale: float) -> Tensor:
        var = (2 * log_scale).exp_()
        ctx.save_for_backward(mean, var)
        ctx.prior_var = prior_scale**2
        squares = (var.sum() + mean.flatten().dot(mean.flatten())) / ctx.prior_var
        total: Tensor = mean.numel() * (math.log(prior_scale) - 0.5) - log_scale.sum() + 0.5 * squares
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        mean, var = ctx.saved_tensors
        factor = gradients[0] / ctx.prior_var
        return mean * factor, (var * factor).sub_(gradients[0]), None


class BayesianConv2d(BayesianLayer):
    """Convolution with weight [out, in / groups, height, width]."""

    def __init__(self, plain: nn.Conv2d, draw: Draw, prior_scale: float, initial_scale: float) -> None:
        super().__init__(plain, draw, prior_scale, initial_scale)
        if plain.padding_mode != "zeros":
            raise ConversionError("a convolution must pad with zeros")
        self.stride, self.padding = plain.stride, plain.padding
        self.dilation, self.groups = plain.dilation, plain.groups

    def apply_weight(self, x_NCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x_NCHW, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class BayesianLinear(BayesianLayer):
    """Linear layer with weight [out, in]."""

    def apply_weight(self, x_NC: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x_NC, weight, bias)


def random_signs(x: Tensor) -> Tensor:
    """Draw independent signs per example and channel: [N, C, 1, …] for x [N, C, …], of its dtype."""
    shape = x.shape[:2] + (1,) * (x.dim() - 2)
    return torch.randint(0, 2, shape, device=x.device, dtype=x.dtype).mul_(2).sub_(1)
