"""Quantize a network's convolutions to eight bits: measure the ranges of tensors and derive their roundings.

Ranges are each tensor's minimum and maximum under a few draws, on held-out images. Weights need no calibration: each
draw has its own rounding, whose step is far below the posterior's spread, so that a draw loses almost nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph.forward import draw_weights, tensors
from pruning.graph.network import Network
from pruning.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Convolution,
    Flatten,
    GlobalAveragePool,
    GroupNormalisation,
    LayerNormalisation,
    MaxPool,
    Multiply,
    Node,
    Normalisation,
    sources,
)
from pruning.graph.rounding import Rounding
from training.evaluation.prediction import batches
from training.progress import Stage

# Nodes that compute on rounded tensors, so that a convolution before them is one of integers. Some of them compute in
# float32 between two roundings. A ReLU or a clip before a rounding is fused into it.
QUANTIZED_READERS = (
    *(Convolution, Add, Multiply, Concat, MaxPool, AveragePool, GlobalAveragePool, Flatten),
    *(Normalisation, GroupNormalisation, LayerNormalisation),
)
FUSED = ("Relu",)


@torch.no_grad()
def quantize_network(network: Network, images_NHWC: Tensor, num_draws: int, generator: torch.Generator) -> Network:
    """Return the network with eight-bit convolutions."""
    draws = [draw_weights(network, generator) for _ in range(num_draws)]
    names = rounded_tensors(network)
    ranges = {name: (0.0, 0.0) for name in names}
    with Stage("ranges of tensors", num_draws * len(images_NHWC)) as stage:
        for x_NHWC in batches(images_NHWC):
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
    """Return the tensors to round: what QUANTIZED_READERS read, except means over all pixels and what is made of them.

    Gates of squeeze and excitation, which are such, are cheap and multiply whole channels: they stay exact.
    """
    means: set[str] = set()
    for node in network.nodes:
        if isinstance(node, GlobalAveragePool) or means.issuperset(sources(node)):
            means.add(node.name)
    read = {name for node in network.nodes if _reads_rounded(node) for name in sources(node)}
    return [name for name in network.widths if name in read - means]


def _reads_rounded(node: Node) -> bool:
    if isinstance(node, Activation):
        return node.function not in FUSED
    return isinstance(node, QUANTIZED_READERS)
