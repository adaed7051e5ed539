"""Derive the noise of a level's draws from its posterior, so that they are the same wherever they are made.

The noise of a draw depends on the posterior's content, the draw's number and the weight's, and on nothing else: all
replicas have the same draws, and a level is calibrated with those that are served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
# Draws that the service makes of every image before it may stop; of these is the mutual information of its answers.
FIRST_DRAWS = 4


def draw_key(posterior: Iterable[tuple[FloatArray, FloatArray]]) -> str:
    """Return the key of a level's draws, the SHA-256 of the mean and scale of its random weights, in the file's order.

    Zeros count as positive, since sparse tensors do not keep their sign.
    """
    digest = hashlib.sha256()
    for parts in posterior:
        for part in parts:
            digest.update((part.astype("<f4") + np.float32(0)).tobytes())
    return digest.hexdigest()


def noise(key: str, draw: int, weight: int, shape: tuple[int, ...]) -> FloatArray:
    """Return standard normal noise float32 for one weight of one draw; `key` is hexadecimal, of 32 digits or more.

    Draws come in antithetic pairs: an odd draw has the noise of the even one before it, negated, so that terms linear
    in the noise cancel in a pair's mean. The generator is counter-based (Philox), so that any draw can be made alone.
    """
    words = np.frombuffer(bytes.fromhex(key)[:16], "<u8")
    pair, second = divmod(draw, 2)
    counter = np.array([0, 0, weight, pair], np.uint64)
    values = np.random.Generator(np.random.Philox(counter=counter, key=words)).standard_normal(shape, np.float32)
    return -values if second else values
