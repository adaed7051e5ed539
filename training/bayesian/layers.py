"""Mean-field Gaussian layers: q(w) = N(mean, scale²) for each weight, with prior N(0, prior_scale²).

The bias is deterministic. A mask marks the weights that are not pruned: a pruned weight has mean and scale exactly
zero, draws zero, and is left out of the KL divergence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.bayesian.forward_pass import Stochastic
from training.bayesian.posterior import GaussianWeight

HALF_TYPES = (torch.float16, torch.bfloat16)
# A finite number, whose exponential is zero in every dtype.
LOG_OF_NO_SCALE = -1e4
# Forward pass of an estimator: maps a layer and its input to one random output.
Draw: TypeAlias = "Callable[[BayesianLayer, Tensor], Tensor]"
PlainLayer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


class BayesianLayer(Stochastic, ABC):
    """Base class of Bayesian layers; `draw` is the estimator of the forward pass.

    Inputs and outputs have channels at `channel_dim`, counted from the end. Before the channels a batch has examples at
    axis 0, and a linear layer's may have positions between both; an input without any is a single example. The layer
    keeps the plain one's bias, dtype, device, mode and attributes such as `in_features`. `path` names it in messages.
    """

    channel_dim: int

    def __init__(
        self, plain: PlainLayer, draw: Draw, prior_scale: float, initial_scale: float, path: str = "the layer"
    ) -> None:
        super().__init__()
        self.draw = draw
        self.prior_scale = prior_scale
        self.path = path
        self.mean = nn.Parameter(plain.weight.detach().clone())
        self.log_scale = nn.Parameter(torch.full_like(plain.weight, math.log(initial_scale)))
        self.bias = plain.bias
        # 1 for a weight, 0 for a pruned one. None while nothing is pruned: no pass over memory, no buffer to broadcast.
        self.mask: Tensor | None
        self.register_buffer("mask", None)
        self.training = plain.training
        for name, value in vars(plain).items():
            if not name.startswith("_") and not hasattr(self, name):
                setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            raise AttributeError(
                f"{self.path}: a Bayesian layer has no single weight, so a network that reads one of a layer cannot be "
                "made Bayesian: call the layer instead"
            )
        return super().__getattr__(name)

    @abstractmethod
    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply the layer's linear map with the given weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one random output, drawn by the layer's estimator."""
        if self.deterministic:
            return self.apply_weight(x, self.masked_mean(), self.bias)
        return self.draw(self, x)

    @property
    def deterministic(self) -> bool:
        """Return whether the layer has no noise."""
        return not self.log_scale.requires_grad

    @torch.no_grad()
    def fix(self) -> None:
        """Make the layer deterministic: its scale is zero, and its divergence that of its mean, |μ|² / (2 σ_p²)."""
        self.log_scale.requires_grad_(False).fill_(LOG_OF_NO_SCALE)
        self.log_scale.grad = None

    def batched(self, x: Tensor) -> bool:
        """Return whether an input or output is a batch, and no single example."""
        return x.dim() > -self.channel_dim

    def sign_shape(self, x: Tensor) -> list[int]:
        """Return the shape of signs per example and channel that multiply an input or output, 1 for its positions."""
        shape = [1] * x.dim()
        shape[self.channel_dim] = x.shape[self.channel_dim]
        if self.batched(x):
            shape[0] = x.shape[0]
        return shape

    def masked_mean(self) -> Tensor:
        """Return the mean of every weight, zero where pruned."""
        return self._masked(self.mean)

    def masked_scale(self) -> Tensor:
        """Return the standard deviation of every weight, zero where pruned."""
        return self._masked(self.log_scale.exp())

    def _masked(self, values: Tensor) -> Tensor:
        return values if self.mask is None else values * self.mask

    def divergence(self) -> Tensor:
        """Return KL(q‖p) of the unpruned weights, in nats; of a deterministic layer what depends on its mean."""
        if self.deterministic:
            return 0.5 * self.masked_mean().float().square().sum() / self.prior_scale**2
        mean: Tensor = self.mean
        log_scale: Tensor = self.log_scale
        if self.mask is not None:  # put pruned weights at the prior, where the divergence is zero
            at_prior = math.log(self.prior_scale)
            mean, log_scale = mean * self.mask, torch.where(self.mask > 0, log_scale, at_prior)
        if mean.dtype in HALF_TYPES:  # sums over a layer would overflow or be rounded away
            mean, log_scale = mean.float(), log_scale.float()
        divergence: Tensor = _Divergence.apply(mean, log_scale, self.prior_scale)  # type: ignore[no-untyped-call]
        return divergence

    def posterior(self) -> GaussianWeight:
        """Return the layer's posterior, detached."""
        return GaussianWeight(self.masked_mean().detach().clone(), self.masked_scale().detach().clone())

    @torch.no_grad()
    def restore(self, weight: GaussianWeight) -> None:
        """Continue from a posterior; mask out, permanently, weights with mean and scale zero.

        A layer without any scale is deterministic. Raises ConversionError for one with scales where a weight has a mean
        and no scale, since the divergence of such a weight is infinite.
        """
        self.mean.copy_(weight.mean)
        if weight.deterministic:
            self.keep(weight.mean != 0)
            self.fix()
            return
        kept = (weight.scale > 0).to(self.mean.device)
        self.keep(kept)
        self.log_scale.requires_grad_(True)
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


class BayesianConvolution(BayesianLayer):
    """Convolution over one to three axes, with weight [out, in / groups, *kernel] and any padding."""

    CONVOLVE: ClassVar[dict[type[nn.Module], Callable[..., Tensor]]] = {
        nn.Conv1d: F.conv1d,
        nn.Conv2d: F.conv2d,
        nn.Conv3d: F.conv3d,
    }
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def __init__(
        self,
        plain: nn.Conv1d | nn.Conv2d | nn.Conv3d,
        draw: Draw,
        prior_scale: float,
        initial_scale: float,
        path: str = "the layer",
    ) -> None:
        super().__init__(plain, draw, prior_scale, initial_scale, path)
        self.convolve = self.CONVOLVE[type(plain)]
        self.channel_dim = -1 - len(plain.kernel_size)
        self.padding_of_sides = list(plain._reversed_padding_repeated_twice)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self.padding_of_sides, self.padding_mode), (0,) * len(self.stride)
        return self.convolve(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class BayesianLinear(BayesianLayer):
    """Linear layer with weight [out, in] over inputs [..., in]."""

    channel_dim = -1

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


# The exact types that are made Bayesian: a subclass may compute anything else.
BAYESIAN: dict[type[nn.Module], type[BayesianLayer]] = {
    nn.Linear: BayesianLinear,
    **dict.fromkeys(BayesianConvolution.CONVOLVE, BayesianConvolution),
}


def random_signs(x: Tensor, shape: list[int]) -> Tensor:
    """Draw independent signs of a shape, of the device and dtype of what they multiply."""
    return torch.randint(0, 2, shape, device=x.device, dtype=x.dtype).mul_(2).sub_(1)
