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


def member_and_noise(draw: int, members: int) -> tuple[int, int]:
    """Return the member of a mixture whose turn a draw is, and the number of its noise, which no other member has.

    Draws take turns: the first M draws are one of each member, the next M their antithetic partners, and so on. The
    noise of a single network's draw has the draw's number.
    """
    own, member = divmod(draw, members)
    pair, second = divmod(own, 2)
    return member, 2 * (pair * members + member) + second


def first_draws(members: int) -> int:
    """Return the draws of an image before the service may stop: FIRST_DRAWS, or more that each member has as many."""
    return -(-FIRST_DRAWS // members) * members


def whole_rounds(draws: int, members: int) -> int:
    """Return so many draws, or more that each member of a mixture has as many, and each draw its antithetic partner."""
    size = 2 * members if members > 1 else 1
    return -(-draws // size) * size


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
