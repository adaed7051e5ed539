"""Draw logits of the predictive distribution from posterior samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.bayesian.posterior import Posterior
from training.data.dataset import Pixels
from training.progress import Stage

# A sampled network: uint8 images [N, H, W, C] to logits float32 [N, K].
Drawn: TypeAlias = Callable[[Tensor], Tensor]
# Small batches stay in the CPU cache: 1.5 times the images per second of batches of 500 (resnet20, two cores).
# Of large images fewer, whose tensors would take gigabytes.
MAX_BATCH, MAX_BATCH_PIXELS = 100, 400_000
CPU = torch.device("cpu")


@torch.no_grad()
def draw_logits(
    draw: Callable[[], Drawn], images_NHWC: Tensor, num_draws: int, stage: Stage, device: torch.device = CPU
) -> Tensor:
    """Return logits float32 [S, N, K] of `num_draws` networks, on the CPU; all images share the networks.

    The stage advances by one per image and draw.
    """
    draws = []
    for _ in range(num_draws):
        draws.append(_logits(draw(), images_NHWC, device))
        stage.advance(len(images_NHWC), "")
    return torch.stack(draws)


def drawing(
    plain: nn.Module, posterior: Posterior, pixels: Pixels, generator: torch.Generator, device: torch.device = CPU
) -> Callable[[], Drawn]:
    """Return a function that samples a network from the posterior of `plain`."""
    return lambda: _network(plain, posterior.draw(generator), pixels, device)


@torch.no_grad()
def mean_logits(
    plain: nn.Module, posterior: Posterior, pixels: Pixels, images_NHWC: Tensor, device: torch.device = CPU
) -> Tensor:
    """Return logits float32 [N, K] at the posterior mean, on the CPU."""
    return _logits(_network(plain, posterior.mean(), pixels, device), images_NHWC, device)


def _network(plain: nn.Module, state: Mapping[str, Tensor], pixels: Pixels, device: torch.device) -> Drawn:
    plain.eval()
    on_device = {name: tensor.to(device) for name, tensor in state.items()}
    return lambda images_NHWC: functional_call(plain, on_device, (pixels.normalise(images_NHWC),))


def _logits(network: Drawn, images_NHWC: Tensor, device: torch.device) -> Tensor:
    return torch.cat([network(x.to(device)).cpu() for x in batches(images_NHWC)])


def batches(images_NHWC: Tensor) -> list[Tensor]:
    """Divide images into batches that are computed at once."""
    size = max(1, min(MAX_BATCH, MAX_BATCH_PIXELS // images_NHWC.shape[1:3].numel()))
    return [images_NHWC[start : start + size] for start in range(0, len(images_NHWC), size)]
