"""Every random number of training is a function of seed, purpose, step and rank.

Nothing has to be carried across an interruption: a run that resumes at a step draws what it would have drawn.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def seed_for(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed for one purpose (`noise`, `order`, …) at the given counters (step, rank, …)."""
    entropy = [seed, zlib.crc32(purpose.encode()), *counters]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def generator_for(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *counters))


def reseed(seed: int, purpose: str, *counters: int) -> None:
    """Seed torch's own generators, of the CPU and of GPUs in use, which layers draw their noise from."""
    own = seed_for(seed, purpose, *counters)
    torch.default_generator.manual_seed(own)
    # `torch.manual_seed` would keep the call, and where it came from, for a GPU that nobody has begun to use.
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(own)
