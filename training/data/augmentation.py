"""Random crops and flips, on whole batches of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4


def crop_and_flip(x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by four pixels of zeros, crop back at a random place, and mirror half of the images."""
    count, _, height, width = x_NCHW.shape
    padded = F.pad(x_NCHW, (PADDING,) * 4)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows = top + torch.arange(height)
    columns = torch.where(mirrored, left + torch.arange(width - 1, -1, -1), left + torch.arange(width))
    device = x_NCHW.device
    each = torch.arange(count, device=device)[:, None, None]
    taken = padded[each, :, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
    return taken.permute(0, 3, 1, 2).contiguous()
