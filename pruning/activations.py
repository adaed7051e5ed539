"""Measure what each layer of a network reads, for criteria that score channels by their activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.criteria.inputs import Activations
from pruning.graph import network as ir
from pruning.graph.channel_groups import channel_groups
from pruning.graph.forward import apply_node
from training.data.dataset import Images
from training.evaluation.prediction import batches

# Training images, evenly spread.
NUM_IMAGES = 1_000


def measure_activations(network: ir.Network, images: Images) -> dict[str, Activations]:
    """Return the activations that every layer reads at the posterior mean, by the name of its weight."""
    images = images.spread(NUM_IMAGES)
    sums: dict[str, list[Tensor]] = {}
    first = 0
    for pixels_NHWC in batches(images.pixels):
        batch = Images(pixels_NHWC, images.labels[first : first + len(pixels_NHWC)])
        first += len(batch)
        for name, figures in _sums(network, batch).items():
            earlier = sums.setdefault(name, [torch.zeros_like(each) for each in figures])
            sums[name] = [one + other for one, other in zip(earlier, figures, strict=True)]
    return {f"{name}.weight": Activations(*(each / len(images) for each in both)) for name, both in sums.items()}


def _sums(network: ir.Network, images: Images) -> dict[str, list[Tensor]]:
    """Return sums over images of the mean of a² over positions, and of (Σ a ∂L/∂a)², [in] by layer."""
    channels = channel_groups(network).numbers
    layers = {name: (node.weight.mean, node.bias) for name, node in network.weighted.items()}
    values = {IMAGES: network.pixels.normalise(images.pixels).requires_grad_()}
    read: dict[str, Tensor] = {}
    for node in network.nodes:
        known = values
        if node.name in layers:  # a copy, so that the gradient is that of this reader alone
            read[node.name] = values[node.source].clone()
            known = values | {node.source: read[node.name]}
        values[node.name] = apply_node(node, known, layers)
    # A sum: each image's gradient is that of its own loss.
    loss = F.cross_entropy(values[network.output], images.labels, reduction="sum")
    gradients = dict(zip(read, torch.autograd.grad(loss, list(read.values())), strict=True))
    sums = {}
    for name, a in read.items():
        squares = a.detach().square().flatten(2).mean(2) if a.dim() > 2 else a.detach().square()
        gates_NC = (a.detach() * gradients[name]).flatten(2).sum(2) if a.dim() > 2 else a.detach() * gradients[name]
        # Channels that are removed together are gated together, and share their score.
        _, place, count = channels[network.weighted[name].source].unique(return_inverse=True, return_counts=True)
        together_NV = gates_NC.new_zeros(len(gates_NC), len(count)).index_add_(1, place, gates_NC)
        fisher = (together_NV.square().sum(0) / count)[place]
        sums[name] = [squares.sum(0), fisher]
    return sums
