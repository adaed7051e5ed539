"""Draws of the predictive distribution from a posterior, through the plain network that it belongs to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.data.images import Pixels
from training.posterior import Posterior


@torch.no_grad()
def draw_logits(
    plain: nn.Module,
    posterior: Posterior,
    pixels: Pixels,
    images_NHWC: Tensor,
    num_draws: int,
    generator: torch.Generator,
    batch_size: int = 500,
) -> Tensor:
    """Logits float32 [S, N, K] of uint8 images under `num_draws` networks; every image sees the same networks."""
    plain.eval()
    draws = []
    for _ in range(num_draws):
        state = posterior.draw(generator)
        parts = [functional_call(plain, state, (pixels.normalise(x),)) for x in images_NHWC.split(batch_size)]
        draws.append(torch.cat(parts))
    return torch.stack(draws)
