"""Draws to probabilities, intervals and entropies. Entropies are in nats, everything is float64.

With p_s = softmax(logits_s / T) and p̄ their mean: total = H(p̄), aleatoric = mean of H(p_s), epistemic = total −
aleatoric, the mutual information of label and weights (Depeweg et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.artifact import FloatArray

DoubleArray = npt.NDArray[np.float64]
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Predictive:
    """The predictive distributions of N images: arrays float64 [N, K], entropies [N] in nats.

    `draws` [S, N, K] is each draw's own prediction, `log_sums` [S, N] its ln Σ_k exp(logits_k / T); `spread` is
    standard deviation and 5 % and 95 % quantiles over draws; `standard_error` [N] is that of the top class's
    probability, None for a single draw.
    """

    draws: DoubleArray
    log_sums: DoubleArray
    mean: DoubleArray
    spread: tuple[DoubleArray, DoubleArray, DoubleArray]
    total: DoubleArray
    aleatoric: DoubleArray
    epistemic: DoubleArray
    standard_error: DoubleArray | None


def predictive(logits_SNK: FloatArray, temperature: float) -> Predictive:
    """Summarise the draws of images, of which two and two are antithetic (`service.noise`)."""
    (p_SNK, log_sums_SN), draws = normalized(logits_SNK / np.float64(temperature)), len(logits_SNK)
    mean_NK = np.add.reduce(p_SNK, 0) / draws
    aleatoric_N = mean_of_draws(entropy(p_SNK))
    epistemic_N = np.maximum(entropy(mean_NK) - aleatoric_N, 0.0)
    std_NK, error_N = np.zeros_like(mean_NK), None
    if draws > 1:
        std_NK = _std(p_SNK, mean_NK)
        top_SN = p_SNK[:, np.arange(len(mean_NK)), mean_NK.argmax(1)]
        # The mean of a pair is better known than that of two draws that know nothing of each other.
        values_SN = (top_SN[0::2] + top_SN[1::2]) / 2 if draws >= 4 and draws % 2 == 0 else top_SN
        deviation_SN = values_SN - mean_of_draws(values_SN)
        error_N = np.sqrt(mean_of_draws(deviation_SN * deviation_SN) / (len(values_SN) - 1))
    ordered_SNK, total_N = np.sort(p_SNK, 0), aleatoric_N + epistemic_N
    low_NK, high_NK = (_quantile(ordered_SNK, share) for share in INTERVAL)
    spread = std_NK, low_NK, high_NK
    return Predictive(p_SNK, log_sums_SN, mean_NK, spread, total_N, aleatoric_N, epistemic_N, error_N)


def mean_of_draws(values_SN: DoubleArray) -> DoubleArray:
    """The mean [N] over draws; its bits do not depend on how many images there are."""
    return np.asarray(np.add.reduce(np.ascontiguousarray(values_SN.T), 1) / len(values_SN))


def _std(values: DoubleArray, mean: DoubleArray) -> DoubleArray:
    """The standard deviation over the first dimension; numpy's own takes several times as long for so few."""
    deviation = values - mean
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (len(values) - 1)))


def _quantile(ordered: DoubleArray, share: float) -> DoubleArray:
    """Between the two nearest of S ordered values, as numpy's own function does in ten times the time."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return np.asarray(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def softmax(logits: npt.NDArray[np.floating]) -> DoubleArray:
    """Probabilities over the last dimension."""
    return normalized(logits)[0]


def normalized(logits: npt.NDArray[np.floating]) -> tuple[DoubleArray, DoubleArray]:
    """Probabilities over the last dimension, and what normalises them there: ln Σ exp(logits)."""
    top = np.maximum.reduce(logits, -1, keepdims=True)
    exponent = np.exp(logits - top, dtype=np.float64)
    total = np.add.reduce(exponent, -1, keepdims=True)
    return np.asarray(exponent / total), np.asarray((top + np.log(total))[..., 0])


def entropy(p: DoubleArray) -> DoubleArray:
    """Entropy over the last dimension, in nats."""
    return np.asarray(-np.add.reduce(p * np.log(p + (p == 0)), -1))
