"""Eight-bit arithmetic for a network: the rounding of the tensors between its layers, from the ranges that they have.

Ranges are the least and the greatest value of each tensor under a few draws, on images that were not trained on. The
rounding of weights needs nothing to be known beforehand: each draw has its own. It is far below the spread of their
posterior, so that a draw loses next to nothing by it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph.forward import draw_weights, tensors
from pruning.graph.network import Add, Convolution, Flatten, GlobalAveragePool, MaxPool, Network, sources
from pruning.graph.rounding import Rounding
from training.evaluation.prediction import BATCH_SIZE
from training.progress import Stage

# What computes on rounded tensors; what else stands before a rounding, such as a ReLU, becomes part of it.
READERS = Convolution | Add | MaxPool | GlobalAveragePool | Flatten


@torch.no_grad()
def quantise(network: Network, images_NHWC: Tensor, num_draws: int, generator: torch.Generator) -> Network:
    """The network with its convolutions in eight bits."""
    draws = [draw_weights(network, generator) for _ in range(num_draws)]
    names = meeting_points(network)
    ranges = {name: (0.0, 0.0) for name in names}
    with Stage("ranges of tensors", num_draws * len(images_NHWC)) as stage:
        for x_NHWC in images_NHWC.split(BATCH_SIZE):
            for weights in draws:
                found = tensors(network, x_NHWC, weights)
                for name, (low, high) in ranges.items():
                    least, greatest = found[name].aminmax()
                    ranges[name] = (min(low, float(least)), max(high, float(greatest)))
                stage.advance(len(x_NHWC), "")
    roundings = {name: Rounding.of_range(*ranges[name]) for name in names}
    for node in network.nodes:
        # The largest of some rounded values is one of them.
        if isinstance(node, MaxPool) and {node.name, node.source} <= roundings.keys():
            roundings[node.name] = roundings[node.source]
    return replace(network, roundings=roundings)


def meeting_points(network: Network) -> list[str]:
    """The tensors to round: those that convolutions, sums and pools read, but for means over all pixels."""
    means = {node.name for node in network.nodes if isinstance(node, GlobalAveragePool)}
    read = {name for node in network.nodes if isinstance(node, READERS) for name in sources(node)}
    return [name for name in network.widths if name in read - means]
