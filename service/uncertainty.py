"""Draws to probabilities, intervals and entropies. Entropies are in nats, everything is float64.

With p_s = softmax(logits_s / T) and p̄ their mean: total = H(p̄), aleatoric = mean of H(p_s), epistemic = total −
aleatoric, the mutual information of label and weights (Depeweg et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.artifact import FloatArray

DoubleArray = npt.NDArray[np.float64]
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Predictive:
    """The predictive distribution of one image: arrays float64 [K], entropies in nats.

    `draws` float64 [S, K] is each draw's own prediction, `log_sums` [S] its ln Σ_k exp(logits_k / T); `spread` is
    standard deviation and 5 % and 95 % quantiles over draws; `standard_error` is that of the top class's probability,
    None for a single draw.
    """

    draws: DoubleArray
    log_sums: DoubleArray
    mean: DoubleArray
    spread: tuple[DoubleArray, DoubleArray, DoubleArray]
    total: float
    aleatoric: float
    epistemic: float
    standard_error: float | None


def predictive(logits_SK: FloatArray, temperature: float) -> Predictive:
    """Summarise the draws of an image, of which two and two are antithetic (`service.noise`)."""
    (p_SK, log_sums_S), draws = normalized(logits_SK / np.float64(temperature)), len(logits_SK)
    mean_K = np.add.reduce(p_SK, 0) / draws
    aleatoric = float(np.add.reduce(entropy(p_SK))) / draws
    epistemic = max(float(entropy(mean_K)) - aleatoric, 0.0)
    std_K, error = np.zeros_like(mean_K), None
    if draws > 1:
        std_K = _std(p_SK, mean_K)
        top_S = p_SK[:, mean_K.argmax()]
        # The mean of a pair is better known than that of two draws that know nothing of each other.
        values = (top_S[0::2] + top_S[1::2]) / 2 if draws >= 4 and draws % 2 == 0 else top_S
        error = float(_std(values, np.add.reduce(values) / len(values))) / math.sqrt(len(values))
    ordered_SK, total = np.sort(p_SK, 0), aleatoric + epistemic
    low_K, high_K = (_quantile(ordered_SK, share) for share in INTERVAL)
    return Predictive(p_SK, log_sums_S, mean_K, (std_K, low_K, high_K), total, aleatoric, epistemic, error)


def _std(values: DoubleArray, mean: DoubleArray) -> DoubleArray:
    """The standard deviation over the first dimension; numpy's own takes several times as long for so few."""
    deviation = values - mean
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (len(values) - 1)))


def _quantile(ordered_SK: DoubleArray, share: float) -> DoubleArray:
    """Between the two nearest of S ordered values, as numpy's own function does in ten times the time."""
    place = share * (len(ordered_SK) - 1)
    below = int(place)
    above = min(below + 1, len(ordered_SK) - 1)
    return np.asarray(ordered_SK[below] + (place - below) * (ordered_SK[above] - ordered_SK[below]))


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
