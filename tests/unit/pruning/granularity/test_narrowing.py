"""Channels cut out are the same as channels masked to zero, on every draw; what is narrow can be trained."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from model_store.onnx_file.format import IMAGES
from pruning.granularity.narrowing import Narrowing, narrow_module
from pruning.graph.channel_groups import channel_groups
from tests.support.same_draw import assert_close, assert_same_draw, network_of, random_images, random_pixels, traced
from training.bayesian.posterior import GaussianWeight, Posterior

SIDES = {"convnet": 8, "resnet20": 16}
quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.integers(0, 2**16), st.sampled_from([0.05, 0.4, 0.9]))
@pytest.mark.parametrize("architecture", SIDES)
def test_narrowed_is_masked(architecture: str, seed: int, share: float) -> None:
    """Any channels of any group: the narrow network gives the logits of the wide one with those channels at zero."""
    plain, posterior = network_of(architecture, 3, seed)
    pixels = random_pixels(3, SIDES[architecture])
    network = traced(plain, posterior, pixels)
    channels, generator = channel_groups(network), torch.Generator().manual_seed(seed)
    keep = torch.rand(len(channels.groups), generator=generator) < share
    for group in channels.groups.unique():
        keep[(channels.groups == group).nonzero()[0]] = True
    for name in (IMAGES, network.output):
        keep[channels.numbers[name]] = True
    narrow = Narrowing.keeping(network, channels.kept(keep)).apply(posterior)
    images = random_images(pixels, 3, seed)

    weights = {each: weight.mean.clone() for each, weight in posterior.weights.items()}
    rest = {each: tensor.clone() for each, tensor in posterior.rest.items()}
    for tensor, numbers in channels.numbers.items():
        gone = ~keep[numbers]
        if f"{tensor}.weight" in weights:
            weights[f"{tensor}.weight"][gone] = 0
        for part in ("weight", "bias"):
            if f"{tensor}.{part}" in rest and len(rest[f"{tensor}.{part}"]) == len(gone):
                rest[f"{tensor}.{part}"][gone] = 0
    with torch.no_grad():
        x = pixels.normalise(images)
        masked = functional_call(plain, weights | rest, (x,))
        found = functional_call(narrow_module(plain, narrow).eval(), narrow.mean(), (x,))
    assert_close(found, masked, "narrowed")
    assert_same_draw(narrow_module(plain, narrow).eval(), narrow, pixels, images, generator)


def test_narrow_module_leaves_the_plain_network_as_it_was() -> None:
    """A copy, as wide as the posterior, whose layers know their own widths."""
    plain, posterior = network_of("resnet20", 3, 0)
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    name = "3.conv1.weight"
    weights = dict(posterior.weights)
    weights[name] = GaussianWeight(weights[name].mean[:8], weights[name].scale[:8])
    weights["3.conv2.weight"] = GaussianWeight(
        weights["3.conv2.weight"].mean[:, :8], weights["3.conv2.weight"].scale[:, :8]
    )
    rest = {
        key: tensor[:8] if key.startswith("3.norm1.") and tensor.dim() else tensor
        for key, tensor in posterior.rest.items()
    }
    narrow = narrow_module(plain, Posterior(weights, rest))
    assert {name: tensor.shape for name, tensor in plain.state_dict().items()} == shapes
    block = narrow.get_submodule("3")
    assert (block.conv1.out_channels, block.norm1.num_features, block.conv2.in_channels) == (8, 8, 8)
    narrow.train()(torch.zeros(2, 3, 16, 16)).sum().backward()
