"""Build a pruned network with fresh weights, to train from scratch: the control of pruning itself (Liu et al. 2019).

It has the widths, the zeros and the random layers that pruning left, and the initial weights and scales of a new run.
"""

from __future__ import annotations

import torch
from torch import nn

from pruning.trained_run import TrainedRun
from training.bayesian.posterior import GaussianWeight, Posterior
from training.randomness import reseed


def fresh_posterior(run: TrainedRun, pruned: Posterior) -> Posterior:
    """Return the posterior that a run of the pruned network begins with."""
    plain = run.module(pruned)
    reseed(run.recipe.seed, "scratch")
    for module in plain.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    state = {name: tensor.detach() for name, tensor in plain.state_dict().items()}
    weights = {}
    for name, weight in pruned.weights.items():
        kept = (weight.mean != 0) | (weight.scale > 0)
        scale = torch.where(weight.scale > 0, run.recipe.initial_scale, 0.0)
        weights[name] = GaussianWeight(state[name] * kept, scale)
    return Posterior(weights, {name: state[name] for name in pruned.rest})
