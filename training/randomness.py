"""Derive every random number of training from seed, purpose, step and rank.

No generator state is stored: a run that resumes at a step draws the same numbers as one that never stopped.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def seed_for(seed: int, purpose: str, *counters: int) -> int:
    """Return a 63-bit seed for one purpose (`noise`, `order`, …) at the given counters (step, rank, …)."""
    entropy = [seed, zlib.crc32(purpose.encode()), *counters]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def generator_for(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """Return a CPU generator seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *counters))


def reseed(seed: int, purpose: str, *counters: int) -> None:
    """Seed torch's default generators, of the CPU and of GPUs in use, from which layers draw their noise."""
    own = seed_for(seed, purpose, *counters)
    torch.default_generator.manual_seed(own)
    # `torch.manual_seed` would queue the call, with its stack trace, for a GPU that is not initialised yet.
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(own)
