"""How strange an image is to a level: scores that are higher for pictures unlike those that it learned from.

Each is the mean over draws of what this file gives for each draw, so that the draws also tell how well it is known.
With p_s = softmax(logits_s / T) and p̄ their mean:

    mutual_information      KL(p_s ‖ p̄), whose mean is H(p̄) − mean H(p_s)
    entropy                 −Σ_k p_sk ln p̄_k, whose mean is H(p̄)
    one_minus_confidence    1 − p_sk of the class k that is most probable under p̄
    energy                  −ln Σ_k exp(logits_sk / T) (Liu et al. 2020)

The manifest says which of them tells strangers best at a level, and above which value an image is called one; how both
are chosen is in `pruning.evaluation.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from model_store.manifest import Score
from service.inference.uncertainty import Draws, mean_of_draws
from service.types import DoubleArray


def _mutual_information(draws: Draws) -> DoubleArray:
    return np.asarray(np.maximum(draws.cross_entropies - draws.entropies, 0.0))


def _entropy(draws: Draws) -> DoubleArray:
    return draws.cross_entropies


def _one_minus_confidence(draws: Draws) -> DoubleArray:
    return np.asarray(1 - draws.p[:, np.arange(len(draws.mean)), draws.mean.argmax(1)])


def _energy(draws: Draws) -> DoubleArray:
    return -draws.log_sums


# The parts [S, N] of each draw.
SCORES: Mapping[Score, Callable[[Draws], DoubleArray]] = {
    "mutual_information": _mutual_information,
    "entropy": _entropy,
    "one_minus_confidence": _one_minus_confidence,
    "energy": _energy,
}


def strangeness(draws: Draws, score: Score) -> DoubleArray:
    """The scores [N] of images."""
    return mean_of_draws(SCORES[score](draws))
