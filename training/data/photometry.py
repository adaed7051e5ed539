"""What changes the values of pixels and leaves them where they are.

An operation takes images uint8 [N, H, W, C] and a strength float32 [N] from -1 to 1 for each of them. Ranges are those
of RandAugment (Cubuk et al. 2020), except that nothing is ever inverted as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

# Brightness, contrast and saturation are multiplied by 1 ± this.
CHANGE = 0.9
# ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


def change_tones(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """One of `OPERATIONS`, or none of them, for each image at a random strength; grey images have no saturation."""
    count, *_, channels = x_NHWC.shape
    operations = [each for each in OPERATIONS.values() if channels == 3 or each is not saturation]
    kinds = torch.randint(1 + len(operations), (count,), generator=generator)
    strengths = torch.rand(count, generator=generator) * 2 - 1
    changed = x_NHWC.clone()
    for kind, operation in enumerate(operations, start=1):
        chosen = (kinds == kind).nonzero().squeeze(1)
        of_kind = chosen.to(x_NHWC.device)
        changed[of_kind] = operation(x_NHWC[of_kind], strengths[chosen].to(x_NHWC.device))
    return changed


def brightness(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Away from black or towards it."""
    return _blend(x_NHWC.float(), 0.0, strength_N)


def contrast(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Away from the image's mean grey or towards it."""
    values = x_NHWC.float()
    return _blend(values, _grey(values).mean((1, 2, 3), keepdim=True), strength_N)


def saturation(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Away from each pixel's grey or towards it."""
    values = x_NHWC.float()
    return _blend(values, _grey(values), strength_N)


def solarize(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Values at or above a threshold from 128 to 255 are inverted."""
    threshold_N = (191.5 + 63.5 * strength_N).round().to(torch.uint8)
    return torch.where(x_NHWC >= threshold_N[:, None, None, None], 255 - x_NHWC, x_NHWC)


def posterize(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Only the upper three to six bits of each value are kept."""
    dropped_N = (4 + 2 * strength_N).floor().clamp(max=5).to(torch.int64)
    mask_N = (256 - (1 << dropped_N)).to(torch.uint8)
    return x_NHWC & mask_N[:, None, None, None]


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "solarize": solarize,
    "posterize": posterize,
}


def _blend(values_NHWC: Tensor, towards: Tensor | float, strength_N: Tensor) -> Tensor:
    """`towards` at a factor of 0, the image at 1, and beyond it up to 1 + CHANGE."""
    factor = (1 + CHANGE * strength_N)[:, None, None, None]
    return (values_NHWC * factor + towards * (1 - factor)).round_().clamp_(0, 255).to(torch.uint8)


def _grey(values_NHWC: Tensor) -> Tensor:
    """Brightness of each pixel, [N, H, W, 1]."""
    if values_NHWC.shape[-1] != 3:
        return values_NHWC.mean(-1, keepdim=True)
    return (values_NHWC * torch.tensor(LUMA, device=values_NHWC.device)).sum(-1, keepdim=True)
