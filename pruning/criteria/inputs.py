"""Define what a score may depend on besides the weight, and the scores of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """Figures of each input channel or feature of a layer, float32 [in], over training images at the posterior mean.

    `second_moment` is E[a²] over images and positions; `gate_fisher` is E[(Σ a ∂L/∂a)²] over images, Σ over positions.
    """

    second_moment: Tensor
    gate_fisher: Tensor


@dataclass(frozen=True)
class Inputs:
    """The prior's standard deviation, a source of random numbers, and the activations that the weight's layer reads."""

    prior_scale: float
    generator: torch.Generator
    activations: Activations | None = None


@dataclass(frozen=True)
class Scores:
    """Scores by the weight's name, minus infinity where pruned; a channel's score is their sum over its weights.

    These are the weights that read the channel and, unless `readers_only`, those that produce it.
    """

    of_weights: Mapping[str, Tensor]
    readers_only: bool = False


def by_group(weight: Tensor, figures: Tensor) -> tuple[Tensor, Tensor]:
    """Bring a weight [out, in / groups, …] and figures [in] into one shape, [groups, out / groups, in / groups, …]."""
    columns = weight.shape[1]
    groups = len(figures) // columns
    return weight.reshape(groups, len(weight) // groups, columns, -1), figures.view(groups, 1, columns, 1)
