"""Geometric and photometric operations of augmentation.

Images are uint8 [N, H, W, C] on any device. Random numbers come from a CPU generator, whatever the images' device.
Operations on tones take a strength float32 [N] from -1 to 1 per image. Ranges are those of RandAugment (Cubuk et al.
2020, arXiv:1909.13719), except that no image is inverted as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# Pixels (He et al. 2016, section 4.2, who pad with zeros).
MAX_SHIFT_PIXELS = 4
# Radians, slope and share of the side, as in RandAugment.
MAX_ROTATION_RAD, MAX_SHEAR, MAX_TRANSLATION = math.radians(30), 0.3, 0.3
WARPS = ("none", "rotate", "shear-x", "shear-y", "translate-x", "translate-y")
# Largest square as a share of the side (DeVries and Taylor 2017 cut out half the side of CIFAR-10's images).
MAX_CUTOUT = 0.5
# Share of the side that is left of small images.
SMALL_SIDE = 0.75
# Factors of brightness, contrast and saturation are 1 ± this.
MAX_CHANGE = 0.9
# ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


def shift_and_mirror(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to four pixels along each axis, reflecting its border, and mirror half of the images."""
    count, height, width, channels = x_NHWC.shape
    rows = _shifted(height, count, generator)
    columns = _shifted(width, count, generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    first = torch.arange(count)[:, None, None] * (height * width)
    places = first + rows[:, :, None] * width + columns[:, None, :]
    moved = x_NHWC.reshape(-1, channels).index_select(0, places.flatten().to(x_NHWC.device))
    return moved.reshape(x_NHWC.shape)


def _shifted(side: int, count: int, generator: Generator) -> Tensor:
    """Draw the source index of every position along a side, int64 [count, side]."""
    largest = min(MAX_SHIFT_PIXELS, side - 1)  # a reflection reaches no further
    shift = torch.randint(-largest, largest + 1, (count, 1), generator=generator)
    last = side - 1
    return last - (last - (torch.arange(side) + shift).abs()).abs()


def warp(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Apply one of `WARPS` to each image at a random strength, by bilinear sampling with a reflected border."""
    count, height, width, _ = x_NHWC.shape
    kinds = torch.randint(len(WARPS), (count,), generator=generator)
    strengths = torch.rand(count, generator=generator) * 2 - 1
    return resample(x_NHWC, inverse_warps(kinds, strengths, height, width))


def inverse_warps(kinds: Tensor, strengths: Tensor, height: int, width: int) -> Tensor:
    """Return the maps from target to source pixels, float32 [N, 2, 3] on (x, y, 1) in pixels from the centre.

    `kinds` are indices into `WARPS`, `strengths` from -1 to 1; both [N].
    """
    rotate, shear_x, shear_y, translate_x, translate_y = (
        torch.where(kinds == number, strengths, 0.0) for number in range(1, len(WARPS))
    )
    angle = rotate * MAX_ROTATION_RAD
    to_x = torch.stack([angle.cos(), shear_x * MAX_SHEAR - angle.sin(), translate_x * MAX_TRANSLATION * width], 1)
    to_y = torch.stack([shear_y * MAX_SHEAR + angle.sin(), angle.cos(), translate_y * MAX_TRANSLATION * height], 1)
    return torch.stack([to_x, to_y], 1)


def resample(x_NHWC: Tensor, matrix_N23: Tensor) -> Tensor:
    """Sample each image bilinearly at the source pixels of its map in `matrix_N23`."""
    _, height, width, _ = x_NHWC.shape
    device = x_NHWC.device
    # grid_sample has coordinates from -1 to 1 between the edges.
    matrix_N23 = (matrix_N23 * torch.tensor([2 / width, 2 / height])[:, None]).to(device)
    xs, ys = (torch.arange(side, device=device) - (side - 1) / 2 for side in (width, height))
    by_x, by_y, shift = (matrix_N23[:, :, column, None, None] for column in range(3))
    grid_NHW2 = (by_x * xs + (by_y * ys[:, None] + shift)).permute(0, 2, 3, 1)
    x_NCHW = x_NHWC.permute(0, 3, 1, 2).float()
    sampled_NCHW = F.grid_sample(x_NCHW, grid_NHW2, padding_mode="reflection", align_corners=False)
    return sampled_NCHW.add_(0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def cut_out(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Put a square of its mean colour into each image, up to half its side and possibly partly outside."""
    count, height, width, _ = x_NHWC.shape
    side = torch.rand(count, 1, generator=generator) * MAX_CUTOUT * min(height, width)
    inside = []
    for length in (height, width):
        centre = torch.rand(count, 1, generator=generator) * length
        inside.append((torch.arange(length) + 0.5 - centre).abs() < side / 2)
    square = (inside[0][:, :, None] & inside[1][:, None, :]).unsqueeze(-1).to(x_NHWC.device)
    mean_N11C = x_NHWC.float().mean((1, 2), keepdim=True).round().to(torch.uint8)
    return torch.where(square, mean_N11C, x_NHWC)


def shrink(x_NCHW: Tensor) -> Tensor:
    """Shrink images, float, to `SMALL_SIDE` of their sides."""
    size = [round(SMALL_SIDE * side) for side in x_NCHW.shape[2:]]
    return F.interpolate(x_NCHW, size, mode="bilinear", antialias=True)


def change_tones(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Apply one of `TONE_OPERATIONS`, or none, to each image at a random strength; grey images skip saturation."""
    count, *_, channels = x_NHWC.shape
    operations = [each for each in TONE_OPERATIONS.values() if channels == 3 or each is not saturation]
    kinds = torch.randint(1 + len(operations), (count,), generator=generator)
    strengths = torch.rand(count, generator=generator) * 2 - 1
    changed = x_NHWC.clone()
    for kind, operation in enumerate(operations, start=1):
        chosen = (kinds == kind).nonzero().squeeze(1)
        of_kind = chosen.to(x_NHWC.device)
        changed[of_kind] = operation(x_NHWC[of_kind], strengths[chosen].to(x_NHWC.device))
    return changed


def brightness(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Blend away from black or towards it."""
    return _blend(x_NHWC.float(), 0.0, strength_N)


def contrast(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Blend away from the image's mean grey or towards it."""
    values = x_NHWC.float()
    return _blend(values, _grey(values).mean((1, 2, 3), keepdim=True), strength_N)


def saturation(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Blend away from each pixel's grey or towards it."""
    values = x_NHWC.float()
    return _blend(values, _grey(values), strength_N)


def solarize(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Invert values at or above a threshold from 128 to 255."""
    threshold_N = (191.5 + 63.5 * strength_N).round().to(torch.uint8)
    return torch.where(x_NHWC >= threshold_N[:, None, None, None], 255 - x_NHWC, x_NHWC)


def posterize(x_NHWC: Tensor, strength_N: Tensor) -> Tensor:
    """Keep only the upper three to six bits of each value."""
    dropped_N = (4 + 2 * strength_N).floor().clamp(max=5).to(torch.int64)
    mask_N = (256 - (1 << dropped_N)).to(torch.uint8)
    return x_NHWC & mask_N[:, None, None, None]


TONE_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "solarize": solarize,
    "posterize": posterize,
}


def _blend(values_NHWC: Tensor, towards: Tensor | float, strength_N: Tensor) -> Tensor:
    """Interpolate from `towards` (factor 0) to the image (factor 1) and beyond, up to 1 + MAX_CHANGE."""
    factor = (1 + MAX_CHANGE * strength_N)[:, None, None, None]
    return (values_NHWC * factor + towards * (1 - factor)).round_().clamp_(0, 255).to(torch.uint8)


def _grey(values_NHWC: Tensor) -> Tensor:
    """Return the luma of each pixel, [N, H, W, 1]."""
    if values_NHWC.shape[-1] != 3:
        return values_NHWC.mean(-1, keepdim=True)
    return (values_NHWC * torch.tensor(LUMA, device=values_NHWC.device)).sum(-1, keepdim=True)
