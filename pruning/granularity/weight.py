"""Single weights, lowest score first; no layer loses its best hundredth."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pruning.cost.budget import Budget
from pruning.cost.latency import Timings
from pruning.errors import LevelError
from pruning.granularity.mask import Mask
from pruning.graph.network import Network
from training.bayesian.posterior import Posterior

SAFE_SHARE = 0.01


def select(
    network: Network,
    posterior: Posterior,
    scores: Mapping[str, Tensor],
    budget: Budget,
    ranking: str,
    timings: Timings,
) -> Mask:
    """Keep the weights with the highest scores, as many as the budget has, and what each layer must keep."""
    names = sorted(posterior.weights)
    ranked = {name: _with_safe_share(scores[name]) for name in names}
    share = budget.most / sum(score.numel() for score in ranked.values())
    if share < SAFE_SHARE:
        raise LevelError(f"{1 - share:.1%} of the weights cannot go: each layer keeps {SAFE_SHARE:.0%}")
    if ranking == "layer":
        return Mask({name: _highest(ranked[name].flatten(), share).view_as(ranked[name]) for name in names})
    kept = _highest(torch.cat([ranked[name].flatten() for name in names]), share)
    parts = kept.split([ranked[name].numel() for name in names])
    return Mask({name: part.view_as(ranked[name]) for name, part in zip(names, parts, strict=True)})


def _highest(scores: Tensor, share: float) -> Tensor:
    """Where the highest scores are, that share of all of them."""
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[scores.argsort(stable=True)[: round((1 - share) * len(scores))]] = False
    return kept


def _with_safe_share(score: Tensor) -> Tensor:
    """The scores with those of the layer's best hundredth, at least one weight, out of reach."""
    best = score.flatten().argsort(descending=True, stable=True)[: math.ceil(SAFE_SHARE * score.numel())]
    safe = score.flatten().clone()
    safe[best] = torch.inf
    return safe.view_as(score)
