"""Prune single weights, lowest score first; every layer keeps its highest-scoring 1 %."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pruning.cost.budget import Budget
from pruning.cost.latency import Timings
from pruning.criteria.inputs import Scores
from pruning.errors import LevelError
from pruning.granularity.mask import Mask
from pruning.graph.network import Network
from training.bayesian.posterior import Posterior

MIN_SHARE_PER_LAYER = 0.01


def choose_removal(
    network: Network, posterior: Posterior, scores: Scores, budget: Budget, ranking: str, timings: Timings
) -> Mask:
    """Keep as many of the highest-scoring weights as the budget allows, and each layer's minimum share."""
    names = sorted(posterior.weights)
    ranked = {name: _protect_minimum(scores.of_weights[name]) for name in names}
    share = budget.limit / sum(score.numel() for score in ranked.values())
    if share < MIN_SHARE_PER_LAYER:
        raise LevelError(f"cannot remove {1 - share:.1%} of the weights: each layer keeps {MIN_SHARE_PER_LAYER:.0%}")
    if ranking == "layer":
        return Mask({name: _highest(ranked[name].flatten(), share).view_as(ranked[name]) for name in names})
    kept = _highest(torch.cat([ranked[name].flatten() for name in names]), share)
    parts = kept.split([ranked[name].numel() for name in names])
    return Mask({name: part.view_as(ranked[name]) for name, part in zip(names, parts, strict=True)})


def _highest(scores: Tensor, share: float) -> Tensor:
    """Return a mask of the highest scores, a share of all."""
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[scores.argsort(stable=True)[: round((1 - share) * len(scores))]] = False
    return kept


def _protect_minimum(score: Tensor) -> Tensor:
    """Set a layer's highest scores, its minimum share and at least one weight, to infinity."""
    highest = score.flatten().argsort(descending=True, stable=True)[: math.ceil(MIN_SHARE_PER_LAYER * score.numel())]
    protected = score.flatten().clone()
    protected[highest] = torch.inf
    return protected.view_as(score)
