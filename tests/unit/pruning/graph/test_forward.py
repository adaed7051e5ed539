"""Draws of a graph: each is a whole pass under its own weights, however much of it is shared."""

from __future__ import annotations

import pytest
import torch

from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import draw_logits, draw_weights, forward
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
    with Stage("drawing", 3 * 130) as stage:
        logits = draw_logits(network, images, 3, torch.Generator().manual_seed(1), stage)
    generator = torch.Generator().manual_seed(1)
    whole = torch.stack([forward(network, images, draw_weights(network, generator)) for _ in range(3)])
    assert logits.shape == (3, 130, 10)
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-4)
    assert (logits[0] == logits[1]).all() == (fixed == 22)
