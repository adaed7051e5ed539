"""Single weights, ranked over the whole network; no layer loses its best hundredth."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pruning.mask import Mask
from pruning.network import Network
from training.posterior import Posterior

SAFE_SHARE = 0.01


def select(network: Network, posterior: Posterior, scores: Mapping[str, Tensor], sparsity: float) -> Mask:
    """Remove the `sparsity` of weights with the lowest scores, beyond what each layer must keep."""
    names = list(posterior.weights)
    ranked = {name: _with_safe_share(scores[name]) for name in names}
    everything = torch.cat([ranked[name].flatten() for name in names])
    order = everything.argsort(stable=True)
    kept = torch.ones(len(everything), dtype=torch.bool)
    kept[order[: round(sparsity * len(everything))]] = False
    parts = kept.split([ranked[name].numel() for name in names])
    return Mask({name: part.view_as(ranked[name]) for name, part in zip(names, parts, strict=True)}, {})


def _with_safe_share(score: Tensor) -> Tensor:
    """The scores with those of the layer's best hundredth, at least one weight, out of reach."""
    best = score.flatten().argsort(descending=True, stable=True)[: math.ceil(SAFE_SHARE * score.numel())]
    safe = score.flatten().clone()
    safe[best] = torch.inf
    return safe.view_as(score)
