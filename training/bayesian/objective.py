"""The negative evidence lower bound per example: −log p(y|x,w) + β·KL(q‖p)/N.

N is the size of the whole training set on any number of ranks, so the divergence is counted once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.bayesian.bayesianize import bayesian_layers
from training.errors import ConversionError


def divergence(module: nn.Module) -> Tensor:
    """Return KL(q‖p) of the whole network, in nats; raise ConversionError for one without Bayesian layers."""
    layers = bayesian_layers(module).values()
    if not layers:
        raise ConversionError("the network has no Bayesian layer: convert it by bayesianize")
    return torch.stack([layer.divergence() for layer in layers]).sum()


def data_term(logits_NK: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of −log p(y|x,w) over the batch, in nats; targets are labels [N] or probabilities [N, K]."""
    return F.cross_entropy(logits_NK, targets)


def negative_elbo(data: Tensor, kl: Tensor, *, weight: float | Tensor, share: float | Tensor = 1.0) -> Tensor:
    """Return the loss of one rank at one step, per example and in nats; `weight` is β/N.

    `share` is the rank's part of the global batch times the number of ranks. With it, the mean of the ranks' gradients
    is the gradient of the global batch, however it is divided.
    """
    return share * data + weight * kl
