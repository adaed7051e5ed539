"""The noise of a draw: a function of the version's content, the draw's number and the weight, and of nothing else."""

from __future__ import annotations

import numpy as np

from service.artifact import FloatArray


def noise(key: str, draw: int, weight: int, shape: tuple[int, ...]) -> FloatArray:
    """Standard normal noise float32 for one weight of one draw; `key` is hexadecimal, of 32 digits or more.

    Draws come in antithetic pairs: an odd draw has the noise of the even one before it, negated. What is linear in the
    noise cancels in a pair's mean. From a counter-based generator (Philox) every replica has the same draws.
    """
    words = np.frombuffer(bytes.fromhex(key)[:16], "<u8")
    pair, second = divmod(draw, 2)
    counter = np.array([0, 0, weight, pair], np.uint64)
    values = np.random.Generator(np.random.Philox(counter=counter, key=words)).standard_normal(shape, np.float32)
    return -values if second else values
