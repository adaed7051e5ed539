"""Draws of the predictive distribution, from anything that can draw a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.data.images import Pixels
from training.posterior import Posterior
from training.progress import Stage

# One network: uint8 images [N, H, W, C] to logits float32 [N, K].
Drawn: TypeAlias = Callable[[Tensor], Tensor]
# Small batches stay in the cache: 1.5 times the images a second of batches of 500 (resnet20, two cores).
BATCH_SIZE = 100


@torch.no_grad()
def draw_logits(draw: Callable[[], Drawn], images_NHWC: Tensor, num_draws: int, stage: Stage) -> Tensor:
    """Logits float32 [S, N, K] under `num_draws` networks; every image sees the same networks.

    The stage advances by one for each image and draw.
    """
    draws = []
    for _ in range(num_draws):
        network = draw()
        draws.append(torch.cat([network(x) for x in torch.split(images_NHWC, BATCH_SIZE)]))
        stage.advance(len(images_NHWC), "")
    return torch.stack(draws)


def drawing(plain: nn.Module, posterior: Posterior, pixels: Pixels, generator: torch.Generator) -> Callable[[], Drawn]:
    """Draws a plain network's state from its posterior, each time anew."""
    plain.eval()

    def draw() -> Drawn:
        state = posterior.draw(generator)
        return lambda images_NHWC: functional_call(plain, state, (pixels.normalise(images_NHWC),))

    return draw
