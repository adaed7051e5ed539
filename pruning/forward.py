"""The graph's forward pass in torch, for given weights: the reference that export is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor

from pruning.network import (
    IMAGES,
    Add,
    Convolution,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Network,
    Node,
    Normalisation,
    Relu,
    sources,
)
from training.prediction import Drawn


@torch.no_grad()
def forward(network: Network, images_NHWC: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Logits float32 [N, K] of uint8 images under one draw of the weights, by node."""
    values = {IMAGES: network.pixels.normalise(images_NHWC)}
    for node in network.nodes:
        values[node.name] = _apply(node, *(values[name] for name in sources(node)), weight=weights.get(node.name))
    return values[network.output]


def draw_weights(network: Network, generator: torch.Generator) -> dict[str, Tensor]:
    """One draw of every weight, by node."""
    return {name: node.weight.draw(generator) for name, node in network.weighted.items()}


def drawing(network: Network, generator: torch.Generator) -> Callable[[], Drawn]:
    """Draws the graph's weights, each time anew."""

    def draw() -> Drawn:
        weights = draw_weights(network, generator)
        return lambda images_NHWC: forward(network, images_NHWC, weights)

    return draw


@singledispatch
def _apply(node: Node, x: Tensor, *, weight: Tensor | None) -> Tensor:
    raise TypeError(f"no forward pass for {type(node).__name__}")


@_apply.register
def _(node: Convolution, x: Tensor, *, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, node.bias, node.stride, node.padding)


@_apply.register
def _(node: Linear, x: Tensor, *, weight: Tensor) -> Tensor:
    return F.linear(x, weight, node.bias)


@_apply.register
def _(node: Normalisation, x: Tensor, *, weight: None) -> Tensor:
    return x * node.factor[:, None, None] + node.shift[:, None, None]


@_apply.register
def _(node: Relu, x: Tensor, *, weight: None) -> Tensor:
    return x.relu()


@_apply.register
def _(node: Add, x: Tensor, y: Tensor, *, weight: None) -> Tensor:
    return x + y


@_apply.register
def _(node: MaxPool, x: Tensor, *, weight: None) -> Tensor:
    return F.max_pool2d(x, node.kernel, node.stride, node.padding)


@_apply.register
def _(node: GlobalAveragePool, x: Tensor, *, weight: None) -> Tensor:
    return x.mean((2, 3), keepdim=True)


@_apply.register
def _(node: Flatten, x: Tensor, *, weight: None) -> Tensor:
    return x.flatten(1)
