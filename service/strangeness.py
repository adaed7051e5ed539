"""How strange an image is to a level: scores that are higher for pictures unlike those that it learned from.

Each is the mean over draws of what this file gives for each draw, so that the draws also tell how well it is known.
With p_s = softmax(logits_s / T) and p̄ their mean:

    mutual_information      KL(p_s ‖ p̄), whose mean is H(p̄) − mean H(p_s)
    entropy                 −Σ_k p_sk ln p̄_k, whose mean is H(p̄)
    one_minus_confidence    1 − p_sk of the class k that is most probable under p̄
    energy                  −ln Σ_k exp(logits_sk / T) (Liu et al. 2020)

The manifest says which of them tells strangers best at a level, and above which value an image is called one; how both
are chosen is in `pruning.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from model_store.manifest import Score
from service.uncertainty import DoubleArray, Predictive, mean_of_draws


def _mutual_information(p_SNK: DoubleArray, mean_NK: DoubleArray, log_sums_SN: DoubleArray) -> DoubleArray:
    ratio_SNK = np.log((p_SNK + (p_SNK == 0)) / (mean_NK + (mean_NK == 0)))
    return np.asarray(np.maximum(np.add.reduce(p_SNK * ratio_SNK, 2), 0))


def _entropy(p_SNK: DoubleArray, mean_NK: DoubleArray, log_sums_SN: DoubleArray) -> DoubleArray:
    return np.asarray(np.add.reduce(p_SNK * -np.log(mean_NK + (mean_NK == 0)), 2))


def _one_minus_confidence(p_SNK: DoubleArray, mean_NK: DoubleArray, log_sums_SN: DoubleArray) -> DoubleArray:
    return np.asarray(1 - p_SNK[:, np.arange(len(mean_NK)), mean_NK.argmax(1)])


def _energy(p_SNK: DoubleArray, mean_NK: DoubleArray, log_sums_SN: DoubleArray) -> DoubleArray:
    return -log_sums_SN


# The parts [S, N] of each draw, from predictions p_s [S, N, K], their mean [N, K] and ln Σ_k exp(logits_sk / T) [S, N].
SCORES: Mapping[Score, Callable[[DoubleArray, DoubleArray, DoubleArray], DoubleArray]] = {
    "mutual_information": _mutual_information,
    "entropy": _entropy,
    "one_minus_confidence": _one_minus_confidence,
    "energy": _energy,
}


def strangeness(summary: Predictive, score: Score) -> DoubleArray:
    """The scores [N] of images."""
    return mean_of_draws(SCORES[score](summary.draws, summary.mean, summary.log_sums))
