"""Choose the precision of convolutions; parameters, optimisers and losses are always float32."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def fastest_precision(device: torch.device) -> str:
    """Return bfloat16 where the hardware multiplies it natively (on CPUs twice as fast), float32 elsewhere."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Compute convolutions and linear maps in `precision` within this context."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "float32")
