"""Split a network into first parts that stay as they are and the rest, which is trained and holds the random layers."""

from __future__ import annotations

import torch
from torch import nn

from training.bayesian.bayesianize import plain_parts
from training.bayesian.posterior import GaussianWeight, Posterior
from training.errors import RecipeError


def split_frozen(plain: nn.Module, count: int) -> tuple[nn.Module, nn.Module]:
    """Split a network before the part with the first of its last `count` layers with weights; names stay as they are.

    Raises RecipeError for a network that is no sequence of parts, and for one that has no more layers.
    """
    if not isinstance(plain, nn.Sequential):
        raise RecipeError(f"only the parts of an nn.Sequential can be frozen, found {type(plain).__name__}")
    names = list(plain_parts(plain)[0])
    parts = [name for name, _ in plain.named_children()]
    place = 0 if count >= len(names) else parts.index(names[-count].split(".")[0])
    if place == 0:
        raise RecipeError(
            f"nothing stays as it is: expected fewer of the {len(names)} layers than last:{count}, or all"
        )
    return plain[:place], plain[place:]


def with_frozen(plain: nn.Module, frozen: nn.Module, trained: Posterior) -> Posterior:
    """Return the posterior of a whole network of which `frozen` stayed as it is; its weights have no scales."""
    state = dict(trained.rest) | {name: tensor.detach().cpu().clone() for name, tensor in frozen.state_dict().items()}
    names = plain_parts(plain)[0]
    weights = {
        name: trained.weights[name]
        if name in trained.weights
        else GaussianWeight(state[name], torch.zeros_like(state[name]))
        for name in names
    }
    return Posterior(weights, {name: tensor for name, tensor in state.items() if name not in names})
