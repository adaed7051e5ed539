"""The mean-field Gaussian posterior: mean and scale of every random weight, and the deterministic rest.

Every estimator produces one, so pruning, export and prediction do not depend on the estimator.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from training.atomic import write_atomically
from training.errors import CheckpointError, ConversionError


@dataclass(frozen=True)
class GaussianWeight:
    """Weight tensor with independent normal entries; `mean` and `scale` share shape and dtype float32."""

    mean: Tensor
    scale: Tensor

    @property
    def deterministic(self) -> bool:
        """Return whether no weight has a scale; raise ConversionError where only some that are not pruned have one."""
        if bool((self.scale > 0).any()):
            if bool((self.mean[self.scale == 0] != 0).any()):
                raise ConversionError("a layer has weights with a mean but without a scale, beside others with one")
            return False
        return True

    def without_scale(self) -> GaussianWeight:
        """Return the point at the mean."""
        return GaussianWeight(self.mean, torch.zeros_like(self.scale))

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw the whole tensor once."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + self.scale * noise


def gaussian_divergence(mean: Tensor, log_scale: Tensor, prior_scale: float) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, σ_p²)) of each weight, in nats: ln(σ_p/σ) + (σ² + μ²)/(2σ_p²) − ½."""
    squares = (2 * log_scale).exp() + mean.square()
    return math.log(prior_scale) - log_scale + 0.5 * (squares / prior_scale**2 - 1)


@dataclass(frozen=True)
class Posterior:
    """Posterior of a plain network: `weights` are random, by name; `rest` holds other parameters and buffers."""

    weights: Mapping[str, GaussianWeight]
    rest: Mapping[str, Tensor]

    @property
    def random(self) -> bool:
        """Return whether any weight has noise: the posterior of a plain network is a point."""
        return any(bool(weight.scale.any()) for weight in self.weights.values())

    def without_scales(self, names: Collection[str]) -> Posterior:
        """Return the posterior in which some weights are deterministic."""
        weights = {name: each.without_scale() if name in names else each for name, each in self.weights.items()}
        return Posterior(weights, self.rest)

    def draw(self, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw a complete state of the plain network."""
        return dict(self.rest) | {name: weight.draw(generator) for name, weight in self.weights.items()}

    def mean(self) -> dict[str, Tensor]:
        """Return the state of the plain network at the posterior mean."""
        return dict(self.rest) | {name: weight.mean for name, weight in self.weights.items()}

    def save(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        tensors = {f"rest/{name}": tensor.contiguous() for name, tensor in self.rest.items()}
        for name, weight in self.weights.items():
            tensors |= {f"mean/{name}": weight.mean.contiguous(), f"scale/{name}": weight.scale.contiguous()}
        write_atomically(path, save(tensors))

    @classmethod
    def load(cls, path: Path) -> Posterior:
        """Read a file written by `save`; raise CheckpointError where it is damaged or holds invalid values."""
        try:
            tensors = load(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"the posterior {path.name} cannot be read: {error}") from error
        parts: dict[str, dict[str, Tensor]] = {"mean": {}, "scale": {}, "rest": {}}
        for key, tensor in sorted(tensors.items()):  # files keep no order, and draws depend on it
            part, _, name = key.partition("/")
            if part not in parts:
                raise CheckpointError(f"the posterior {path.name} has an unknown entry {key!r}")
            parts[part][name] = tensor
        if parts["mean"].keys() != parts["scale"].keys():
            raise CheckpointError(f"the posterior {path.name} has means without scales, or scales without means")
        weights = {name: GaussianWeight(mean, parts["scale"][name]) for name, mean in parts["mean"].items()}
        for name, weight in weights.items():
            if (weight.mean.shape, weight.mean.dtype) != (weight.scale.shape, weight.scale.dtype):
                raise CheckpointError(f"the posterior of {name} has a mean and a scale of different shapes or types")
            if not (weight.mean.isfinite().all() and weight.scale.isfinite().all() and (weight.scale >= 0).all()):
                raise CheckpointError(f"the posterior of {name} holds values that are not finite, or negative scales")
        for name, tensor in parts["rest"].items():
            if not tensor.isfinite().all():
                raise CheckpointError(f"{name} of the posterior {path.name} holds values that are not finite")
        return cls(weights, parts["rest"])
