"""Simulate in float32 the eight-bit arithmetic of the service's convolutions.

A tensor x is stored as q = round(x / scale) + zero_point in uint8; a weight as int8 with one scale per output channel,
its largest value / 64; a bias as int32 in steps of the product of both scales (Jacob et al. 2018). Halves round to
even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_store.onnx_file.format import MAX_INT8_WEIGHT, MAX_UINT8


@dataclass(frozen=True)
class Rounding:
    """A tensor's rounding: step `scale`, exact in float32, and `zero_point`, the value of zero, from 0 to 255."""

    scale: float
    zero_point: int

    @classmethod
    def from_range(cls, low: float, high: float) -> Rounding:
        """Return the rounding of values from `low` to `high`; zero is always exact."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / MAX_UINT8)) or 1.0
        return cls(scale, round(-low / scale))

    def apply(self, x: Tensor) -> Tensor:
        """Round x, in float32."""
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, MAX_UINT8)


def rounded_layer(weight: Tensor, bias: Tensor, source: Rounding) -> tuple[Tensor, Tensor]:
    """Round a convolution's weight [out, …] and bias [out], given the rounding of its input."""
    scale_O = weight.flatten(1).abs().amax(1) / MAX_INT8_WEIGHT
    scale_O = torch.where(scale_O > 0, scale_O, 1.0)
    scale_O111 = scale_O.view(-1, *(1,) * (weight.dim() - 1))
    step_O = scale_O * source.scale
    return (weight / scale_O111).round() * scale_O111, (bias / step_O).round() * step_O
