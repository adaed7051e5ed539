"""Draws of a graph: each is a whole pass under its own weights, however much of it is shared."""

from __future__ import annotations

import pytest
import torch

from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import draw_logits, forward, mean_weights, served_draws
from pruning.graph.network import without_scales
from tests.support.same_draw import network_of, random_images, random_pixels, traced
from training.progress import Stage


@pytest.mark.parametrize("fixed", [0, 1, 9, 22])
def test_sharing_changes_nothing(fixed: int) -> None:
    """With none, some and all of the layers deterministic; in batches and not."""
    plain, posterior = network_of("resnet20", 3, seed=0)
    pixels = random_pixels(3, 16)
    network = fold_and_compact(traced(plain, posterior, pixels))
    network = without_scales(network, list(network.weighted)[:fixed])
    images = random_images(pixels, 130, 0)
    draws = served_draws([network], 3)[0]
    with Stage("drawing", 3 * 130) as stage:
        logits = draw_logits(network, images, draws, stage)
    whole = torch.stack([forward(network, images, weights) for weights in draws])
    assert logits.shape == (3, 130, 10)
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-4)
    assert (logits[0] == logits[1]).all() == (fixed == 22)


def test_served_draws_are_of_the_posterior() -> None:
    """In antithetic pairs around the means; a weight without scales is its mean."""
    plain, posterior = network_of("convnet", 3, seed=4)
    network = traced(plain, posterior, random_pixels(3, 16))
    fixed = next(iter(network.weighted))
    network, means = without_scales(network, [fixed]), mean_weights(network)
    first, second, third = served_draws([network], 3)[0]
    for name, node in network.weighted.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, means[name])
        if name == fixed:
            assert torch.equal(first[name], means[name])
        else:
            standard = (torch.stack([first[name], third[name]]) - means[name]) / node.weight.scale
            assert abs(float(standard.std()) - 1) < 0.1
            assert not torch.equal(first[name], third[name])
