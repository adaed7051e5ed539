"""Prune scales: make layers deterministic that need no randomness (partially stochastic networks, Sharma et al. 2023).

The effect of a layer's scales is measured as the Jensen-Shannon distance between the predictive distributions with and
without them, on held-out images and with common random numbers. Scales are removed from the first layer on, as far as
the budget allows, since the part before the first random weight is computed once for all draws. Removing scales of
later layers would cost randomness and save nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.graph.forward import draw_logits, draw_weights
from pruning.graph.network import Convolution, Linear, Network
from training.bayesian.posterior import GaussianWeight
from training.evaluation.metrics import entropy, predictive
from training.progress import Stage
from training.randomness import generator_for


@dataclass(frozen=True)
class ScalePruning:
    """The network, its layers without scales in order, and the distance by which its predictions moved."""

    network: Network
    layers: tuple[str, ...]
    distance: float


def prune_scales(network: Network, images_NHWC: Tensor, budget: float, num_draws: int, seed: int) -> ScalePruning:
    """Remove the scales of as many layers as move the predictive distribution by at most `budget`.

    The budget is a mean Jensen-Shannon distance over the images, from 0 to √(ln 2) = 0.83.
    """
    layers = [name for name, node in network.weighted.items() if (node.weight.scale > 0).any()]
    with Stage("scale pruning", (len(layers) + 1) * num_draws * len(images_NHWC)) as stage:

        def predict(fixed: Collection[str]) -> Tensor:
            generator, left = generator_for(seed, "scale pruning"), without_scales(network, fixed)
            draws = [draw_weights(left, generator) for _ in range(num_draws)]
            return predictive(draw_logits(left, images_NHWC, draws, stage))

        p_NK, fixed, distance = predict(()), list[str](), 0.0
        for name in layers:
            next_distance = float(jensen_shannon(p_NK, predict([*fixed, name])).mean())
            if next_distance > budget:
                break
            fixed, distance = [*fixed, name], next_distance
    return ScalePruning(without_scales(network, fixed), tuple(fixed), distance)


def without_scales(network: Network, layers: Collection[str]) -> Network:
    """Replace the weights of some layers by their means."""
    nodes = tuple(
        replace(node, weight=GaussianWeight(node.weight.mean, torch.zeros_like(node.weight.scale)))
        if isinstance(node, Convolution | Linear) and node.name in layers
        else node
        for node in network.nodes
    )
    return Network(network.pixels, nodes)


def jensen_shannon(p_NK: Tensor, q_NK: Tensor) -> Tensor:
    """Return the distance [N] of two distributions, the root of the divergence in nats (Endres and Schindelin 2003)."""
    between = entropy((p_NK + q_NK) / 2) - (entropy(p_NK) + entropy(q_NK)) / 2
    return between.clamp(0, math.log(2)).sqrt()
