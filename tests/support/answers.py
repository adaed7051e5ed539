"""Logits of draws, with labels that they are fair about."""

from __future__ import annotations

import torch
from torch import Tensor

from training.evaluation.metrics import predictive


def answers(count: int, seed: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits [S, N, K] of eight draws, and labels that they are fair about."""
    generator = torch.Generator().manual_seed(seed)
    centre = 2 * torch.randn(count, 6, generator=generator) * (1 - shift)
    logits = centre + 0.3 * torch.randn(8, count, 6, generator=generator)
    return logits, torch.multinomial(predictive(logits), 1, generator=generator).squeeze(1)
