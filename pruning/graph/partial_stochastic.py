"""Scale pruning: layers that need no randomness keep their means only (partially stochastic, Sharma et al. 2023).

What the scales of layers are worth is measured: the Jensen-Shannon distance between the predictive distributions with
and without them, on images that were not trained on, all other noise being the same. As many layers from the images on
lose them as the budget allows, since what comes before the first random weight is computed once for all draws. Layers
behind it keep theirs: to take them away would cost randomness and save nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.graph.forward import draw_logits
from pruning.graph.network import Convolution, Linear, Network
from training.bayesian.posterior import GaussianWeight
from training.evaluation.metrics import entropy, predictive
from training.progress import Stage
from training.randomness import generator_for


@dataclass(frozen=True)
class ScalePruning:
    """The network, its layers without scales in order, and how far its predictive distribution moved."""

    network: Network
    layers: tuple[str, ...]
    distance: float


def prune_scales(network: Network, images_NHWC: Tensor, budget: float, num_draws: int, seed: int) -> ScalePruning:
    """Take away as many layers' scales as move the predictive distribution by at most `budget`.

    The budget is a mean Jensen-Shannon distance over the images, from 0 to √(ln 2) = 0.83.
    """
    layers = [name for name, node in network.weighted.items() if (node.weight.scale > 0).any()]
    with Stage("scale pruning", (len(layers) + 1) * num_draws * len(images_NHWC)) as stage:

        def predicted(gone: Collection[str]) -> Tensor:
            generator = generator_for(seed, "scale pruning")
            return predictive(draw_logits(without_scales(network, gone), images_NHWC, num_draws, generator, stage))

        p_NK, gone, moved = predicted(()), list[str](), 0.0

        for name in layers:
            found = float(jensen_shannon(p_NK, predicted([*gone, name])).mean())
            if found > budget:
                break
            gone, moved = [*gone, name], found
    return ScalePruning(without_scales(network, gone), tuple(gone), moved)


def without_scales(network: Network, layers: Collection[str]) -> Network:
    """The network with the means of these layers as their weights."""
    nodes = tuple(
        replace(node, weight=GaussianWeight(node.weight.mean, torch.zeros_like(node.weight.scale)))
        if isinstance(node, Convolution | Linear) and node.name in layers
        else node
        for node in network.nodes
    )
    return Network(network.pixels, nodes)


def jensen_shannon(p_NK: Tensor, q_NK: Tensor) -> Tensor:
    """The distance of two distributions, [N]: the root of the divergence in nats (Endres and Schindelin 2003)."""
    between = entropy((p_NK + q_NK) / 2) - (entropy(p_NK) + entropy(q_NK)) / 2
    return between.clamp(0, math.log(2)).sqrt()
