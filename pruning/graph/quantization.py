"""Quantize a network's convolutions to eight bits: measure the ranges of tensors and derive their roundings.

Ranges are each tensor's minimum and maximum under a few draws, on held-out images. Weights need no calibration: each
draw has its own rounding, whose step is far below the posterior's spread, so that a draw loses almost nothing.
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

# Nodes that compute on rounded tensors; others before a rounding, such as a ReLU, are fused into it.
QUANTIZED_READERS = Convolution | Add | MaxPool | GlobalAveragePool | Flatten


@torch.no_grad()
def quantize_network(network: Network, images_NHWC: Tensor, num_draws: int, generator: torch.Generator) -> Network:
    """Return the network with eight-bit convolutions."""
    draws = [draw_weights(network, generator) for _ in range(num_draws)]
    names = rounded_tensors(network)
    ranges = {name: (0.0, 0.0) for name in names}
    with Stage("ranges of tensors", num_draws * len(images_NHWC)) as stage:
        for x_NHWC in images_NHWC.split(BATCH_SIZE):
            for weights in draws:
                values = tensors(network, x_NHWC, weights)
                for name, (low, high) in ranges.items():
                    minimum, maximum = values[name].aminmax()
                    ranges[name] = (min(low, float(minimum)), max(high, float(maximum)))
                stage.advance(len(x_NHWC), "")
    roundings = {name: Rounding.from_range(*ranges[name]) for name in names}
    for node in network.nodes:
        # The maximum of rounded values is itself rounded.
        if isinstance(node, MaxPool) and {node.name, node.source} <= roundings.keys():
            roundings[node.name] = roundings[node.source]
    return replace(network, roundings=roundings)


def rounded_tensors(network: Network) -> list[str]:
    """Return the tensors to round: all that QUANTIZED_READERS read, except means over all pixels."""
    means = {node.name for node in network.nodes if isinstance(node, GlobalAveragePool)}
    read = {name for node in network.nodes if isinstance(node, QUANTIZED_READERS) for name in sources(node)}
    return [name for name in network.widths if name in read - means]
