"""Group tensors whose channels must be removed together, coupled by sums, rectifiers, normalisation or pooling."""

from __future__ import annotations

from model_store.onnx_file.format import IMAGES
from pruning.graph.network import Add, Convolution, Flatten, Linear, Network


def channel_groups(network: Network) -> dict[str, str]:
    """Return each tensor's group, named after one of its tensors.

    Weights start a new group, and so does `Flatten`, whose channels are those before it times the pixels.
    """
    parent = {IMAGES: IMAGES}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in network.nodes:
        parent[node.name] = node.name
        if not isinstance(node, Convolution | Linear | Flatten):
            parent[node.name] = find(node.source)
        if isinstance(node, Add):
            parent[find(node.other)] = find(node.source)
    return {name: find(name) for name in parent}
