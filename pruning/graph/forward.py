"""Compute the graph's forward pass in torch for given weights, the reference for the exported file.

A network's roundings apply to its tensors, and to the weights of convolutions that read rounded tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.onnx_file.draws import draw_key, member_and_noise, noise
from model_store.onnx_file.format import IMAGES
from pruning.graph import network as ir
from pruning.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Clip,
    Concat,
    Convolution,
    Flatten,
    GlobalAveragePool,
    GroupNormalisation,
    LayerNormalisation,
    Linear,
    MaxPool,
    Multiply,
    Node,
    Normalisation,
    Pads,
    sources,
)
from pruning.graph.rounding import rounded_layer
from training.evaluation.prediction import batches
from training.progress import Stage

# Weight and bias of a layer in one draw.
Layer = tuple[Tensor, Tensor]
# What an activation computes, by its name in ONNX.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Silu": F.silu,
    "HardSwish": F.hardswish,
    "HardSigmoid": F.hardsigmoid,
    "Gelu": F.gelu,
}


@torch.no_grad()
def forward(network: ir.Network, images_NHWC: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return logits float32 [N, K] of uint8 images under one draw of the weights, by node."""
    return tensors(network, images_NHWC, weights)[network.output]


@torch.no_grad()
def tensors(network: ir.Network, images_NHWC: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors of the forward pass, by name."""
    return _compute(network, network.nodes, _pixels(network, images_NHWC), _layers(network, weights))


def compute(network: ir.Network, x_NCHW: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return logits float32 [N, K] of normalised images under one draw of the weights, by node."""
    return _compute(network, network.nodes, {IMAGES: x_NCHW}, _layers(network, weights))[network.output]


def draw_weights(network: ir.Network, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw every weight once, by node."""
    return {name: node.weight.draw(generator) for name, node in network.weighted.items()}


def served_draws(members: Sequence[ir.Network], num_draws: int) -> list[list[dict[str, Tensor]]]:
    """Draw every weight as the service does for the exported file, for each member by node; bit for bit the same."""
    random = [
        {name: node.weight for name, node in network.weighted.items() if (node.weight.scale > 0).any()}
        for network in members
    ]
    key = draw_key((weight.mean.numpy(), weight.scale.numpy()) for drawn in random for weight in drawn.values())
    draws: list[list[dict[str, Tensor]]] = [[] for _ in members]
    for draw in range(num_draws):
        member, number = member_and_noise(draw, len(members))
        noisy = {
            name: weight.mean + weight.scale * torch.from_numpy(noise(key, number, place, tuple(weight.mean.shape)))
            for place, (name, weight) in enumerate(random[member].items())
        }
        draws[member].append(mean_weights(members[member]) | noisy)
    return draws


def mean_weights(network: ir.Network) -> dict[str, Tensor]:
    """Return the posterior mean of every weight, by node."""
    return {name: node.weight.mean for name, node in network.weighted.items()}


@torch.no_grad()
def draw_logits(
    network: ir.Network, images_NHWC: Tensor, draws: Sequence[Mapping[str, Tensor]], stage: Stage
) -> Tensor:
    """Return logits float32 [S, N, K] under draws of the weights, by node.

    Tensors that do not depend on the draw are computed once. The stage advances by one per image and draw.
    """
    layers_S = [_layers(network, weights) for weights in draws]
    random = ir.random_tensors(network)
    shared, drawn = ([node for node in network.nodes if (node.name in random) == own] for own in (False, True))
    read = {name for node in drawn for name in sources(node)} | {network.output}
    parts = []
    for x_NHWC in batches(images_NHWC):
        known = _compute(network, shared, _pixels(network, x_NHWC), layers_S[0])
        kept = {name: value for name, value in known.items() if name in read}
        parts.append(torch.stack([_compute(network, drawn, dict(kept), layers)[network.output] for layers in layers_S]))
        stage.advance(len(draws) * len(x_NHWC), "")
    return torch.cat(parts, 1)


def mixture_logits(
    members: Sequence[ir.Network], images_NHWC: Tensor, draws: Sequence[Sequence[Mapping[str, Tensor]]], stage: Stage
) -> Tensor:
    """Return logits float32 [S, N, K] of draws of each member, which take turns through the members."""
    some = [(network, own) for network, own in zip(members, draws, strict=True) if own]
    parts = [draw_logits(network, images_NHWC, own, stage) for network, own in some]
    rounds = range(max(map(len, parts)))
    return torch.stack([part[number] for number in rounds for part in parts if number < len(part)])


def _pixels(network: ir.Network, images_NHWC: Tensor) -> dict[str, Tensor]:
    return {IMAGES: _rounded(network, IMAGES, network.pixels.normalise(images_NHWC))}


def _layers(network: ir.Network, weights: Mapping[str, Tensor]) -> dict[str, Layer]:
    """Return each layer's weight and bias under one draw, rounded where its input is."""
    layers: dict[str, Layer] = {}
    for name, node in network.weighted.items():
        rounding = network.roundings.get(node.source)
        if isinstance(node, Convolution) and rounding is not None:
            layers[name] = rounded_layer(weights[name], node.bias, rounding)
        else:
            layers[name] = (weights[name], node.bias)
    return layers


def _compute(
    network: ir.Network, nodes: Iterable[Node], values: dict[str, Tensor], layers: Mapping[str, Layer]
) -> dict[str, Tensor]:
    """Compute some nodes, and add their values to the known ones."""
    for node in nodes:
        values[node.name] = _rounded(network, node.name, apply_node(node, values, layers))
    return values


def _rounded(network: ir.Network, name: str, value: Tensor) -> Tensor:
    rounding = network.roundings.get(name)
    return value if rounding is None else rounding.apply(value)


def apply_node(node: Node, values: Mapping[str, Tensor], layers: Mapping[str, Layer]) -> Tensor:
    """Compute one node from the tensors before it, given each layer's weight and bias."""
    x, *others = (values[name] for name in sources(node))
    match node:
        case Convolution():
            x, padding = _padded(x, node.pads)
            return F.conv2d(x, *layers[node.name], node.stride, padding, node.dilation, node.groups)
        case Linear():
            return F.linear(x, *layers[node.name])
        case Normalisation():
            return x * beside(node.factor, x) + beside(node.shift, x)
        case GroupNormalisation():
            return F.group_norm(x, node.groups, node.factor, node.shift, node.epsilon)
        case LayerNormalisation():
            return _layer_norm(node, x)
        case Activation():
            return FUNCTIONS[node.function](x)
        case Clip():
            return x.clamp(node.low, node.high)
        case Add():
            return x + others[0]
        case Multiply():
            return x * others[0]
        case Concat():
            return torch.cat([x, *others], 1)
        case MaxPool():
            return F.max_pool2d(x, node.kernel, node.stride, node.padding)
        case AveragePool():
            return F.avg_pool2d(x, node.kernel, node.stride, node.padding, count_include_pad=node.count_padding)
        case GlobalAveragePool():
            return x.mean((2, 3), keepdim=True)
        case Flatten():
            return x.flatten(1)


def beside(values_C: Tensor, x: Tensor) -> Tensor:
    """Reshape one value a channel to be broadcast over an image or a vector."""
    return values_C.view(-1, *(1,) * (x.dim() - 2))


def _layer_norm(node: LayerNormalisation, x: Tensor) -> Tensor:
    shape, parts = node.factor.shape, (node.factor, node.shift, node.epsilon)
    if len(shape) == 1 and x.dim() == 4:  # over the channels of each pixel
        return F.layer_norm(x.permute(0, 2, 3, 1), shape, *parts).permute(0, 3, 1, 2)
    return F.layer_norm(x, shape, *parts)


def _padded(x: Tensor, pads: Pads) -> tuple[Tensor, tuple[int, int]]:
    """Return what a convolution reads, and the padding of both sides that is left to it."""
    top, left, bottom, right = pads
    return (x, (top, left)) if (top, left) == (bottom, right) else (F.pad(x, (left, right, top, bottom)), (0, 0))
