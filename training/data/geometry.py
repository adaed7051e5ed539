"""What moves pixels: a shift with a mirror image, a turn or a slant, a square cut out.

Images are uint8 [N, H, W, C]. Random numbers come from the CPU generator that is given, whatever the images' device.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# In pixels (He et al. 2016, section 4.2, who pad with zeros).
SHIFT = 4
# The strongest of each, as RandAugment has them: radians, slope, share of the side.
ROTATION, SHEAR, TRANSLATION = math.radians(30), 0.3, 0.3
WARPS = ("none", "rotate", "shear-x", "shear-y", "translate-x", "translate-y")
# Of the side, for the largest square (DeVries and Taylor 2017 cut out half the side of CIFAR-10's images).
SQUARE = 0.5


def shift_and_mirror(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Move each image by up to four pixels each way, its border reflected into the gap, and mirror half of them."""
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
    """For each place along a side the place that its pixel comes from, int64 [count, side]."""
    most = min(SHIFT, side - 1)  # a reflection has no more than this to give
    shift = torch.randint(-most, most + 1, (count, 1), generator=generator)
    last = side - 1
    return last - (last - (torch.arange(side) + shift).abs()).abs()


def warp(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """One of `WARPS` for each image, at a random strength; bilinear, its border reflected into the gaps."""
    count, height, width, _ = x_NHWC.shape
    kinds = torch.randint(len(WARPS), (count,), generator=generator)
    strengths = torch.rand(count, generator=generator) * 2 - 1
    return warped(x_NHWC, warp_matrices(kinds, strengths, height, width))


def warp_matrices(kinds: Tensor, strengths: Tensor, height: int, width: int) -> Tensor:
    """The way back from a pixel to where it comes from, float32 [N, 2, 3] on (x, y, 1) in pixels from the centre.

    `kinds` are places in `WARPS`, `strengths` from -1 to 1; both [N].
    """
    rotate, shear_x, shear_y, translate_x, translate_y = (
        torch.where(kinds == number, strengths, 0.0) for number in range(1, len(WARPS))
    )
    angle = rotate * ROTATION
    to_x = torch.stack([angle.cos(), shear_x * SHEAR - angle.sin(), translate_x * TRANSLATION * width], 1)
    to_y = torch.stack([shear_y * SHEAR + angle.sin(), angle.cos(), translate_y * TRANSLATION * height], 1)
    return torch.stack([to_x, to_y], 1)


def warped(x_NHWC: Tensor, matrix_N23: Tensor) -> Tensor:
    """Images whose pixels come from where `matrix_N23` says, in one bilinear sampling."""
    _, height, width, _ = x_NHWC.shape
    device = x_NHWC.device
    # grid_sample counts from -1 to 1 from one edge to the other.
    matrix_N23 = (matrix_N23 * torch.tensor([2 / width, 2 / height])[:, None]).to(device)
    xs, ys = (torch.arange(side, device=device) - (side - 1) / 2 for side in (width, height))
    by_x, by_y, shift = (matrix_N23[:, :, column, None, None] for column in range(3))
    grid_NHW2 = (by_x * xs + (by_y * ys[:, None] + shift)).permute(0, 2, 3, 1)
    x_NCHW = x_NHWC.permute(0, 3, 1, 2).float()
    sampled_NCHW = F.grid_sample(x_NCHW, grid_NHW2, padding_mode="reflection", align_corners=False)
    return sampled_NCHW.add_(0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def cut_out(x_NHWC: Tensor, generator: Generator) -> Tensor:
    """Put a square of each image's mean colour somewhere into it, up to half its side and perhaps partly outside."""
    count, height, width, _ = x_NHWC.shape
    side = torch.rand(count, 1, generator=generator) * SQUARE * min(height, width)
    inside = []
    for length in (height, width):
        centre = torch.rand(count, 1, generator=generator) * length
        inside.append((torch.arange(length) + 0.5 - centre).abs() < side / 2)
    square = (inside[0][:, :, None] & inside[1][:, None, :]).unsqueeze(-1).to(x_NHWC.device)
    mean_N11C = x_NHWC.float().mean((1, 2), keepdim=True).round().to(torch.uint8)
    return torch.where(square, mean_N11C, x_NHWC)
