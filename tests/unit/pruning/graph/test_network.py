"""Layers without scales: what is shared by all draws, and that draws are still the same."""

from __future__ import annotations

import pytest
import torch

from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import draw_weights, forward
from pruning.graph.network import Network, shared_tensors, without_scales
from pruning.graph.onnx_export import export_onnx, shared_parts, to_bytes
from service.inference.artifact import read_artifact
from service.inference.graph import with_constants
from service.inference.session import Session
from tests.support.same_draw import assert_close, network_of, random_images, random_pixels, traced

PIXELS = random_pixels(3, 16)
IMAGES = random_images(PIXELS, 12, 0)


@pytest.fixture(params=["convnet", "resnet20"])
def network(request: pytest.FixtureRequest) -> Network:
    plain, posterior = network_of(request.param, 3, seed=3)
    return fold_and_compact(traced(plain, posterior, PIXELS))


def test_what_is_shared_ends_before_the_first_noise(network: Network) -> None:
    """Of a network that is random throughout only the pixels; of others, tensors that no draw changes."""
    assert shared_parts(network) == ("pixels",)
    first = list(network.weighted)[:3]
    half = without_scales(network, first)
    shared = shared_tensors(half)
    assert shared
    draws = [draw_weights(half, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    for name in shared:
        part = Network(half.pixels, half.nodes[: [node.name for node in half.nodes].index(name) + 1])
        one, other = (forward(part, IMAGES, draw) for draw in draws)
        assert torch.equal(one, other)


def test_the_file_has_what_is_shared_first_and_draws_the_same(network: Network) -> None:
    """Same draw, same logits, in ONNX Runtime; every node before the first random one is the same for all draws."""
    half = without_scales(network, list(network.weighted)[:3])
    model = export_onnx(half)
    calls = [place for place, node in enumerate(model.graph.node) if node.op_type == "GaussianWeight"]
    made = {output for node in model.graph.node[: calls[0]] for output in node.output}
    assert set(shared_parts(half)) <= made
    (member,) = read_artifact(to_bytes(model)).members
    weights = draw_weights(half, torch.Generator().manual_seed(5))
    drawn = {weight.name: weights[weight.name.removesuffix(".weight")].numpy() for weight in member.weights}
    (found,) = Session(with_constants(member.graph, drawn)).run({"images": IMAGES.numpy()})
    assert_close(torch.from_numpy(found), forward(half, IMAGES, weights), "ONNX Runtime")
    assert len(member.weights) == len(network.weighted) - 3
