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

    `spread` is standard deviation and 5 % and 95 % quantiles over draws; `standard_error` is that of the top class's
    probability, None for a single draw.
    """

    mean: DoubleArray
    spread: tuple[DoubleArray, DoubleArray, DoubleArray]
    total: float
    aleatoric: float
    epistemic: float
    standard_error: float | None


def predictive(logits_SK: FloatArray, temperature: float) -> Predictive:
    """Summarise the draws of an image, of which two and two are antithetic (`service.noise`)."""
    p_SK = softmax(logits_SK.astype(np.float64) / temperature)
    mean_K, draws = p_SK.mean(0), len(p_SK)
    aleatoric = float(entropy(p_SK).mean())
    epistemic = max(float(entropy(mean_K)) - aleatoric, 0.0)
    std_K = p_SK.std(0, ddof=1) if draws > 1 else np.zeros_like(mean_K)
    ordered_SK = np.sort(p_SK, 0)
    low_K, high_K = (_quantile(ordered_SK, share) for share in INTERVAL)
    error = None
    if draws > 1:
        top_S = p_SK[:, mean_K.argmax()]
        # The mean of a pair is better known than that of two draws that know nothing of each other.
        values = top_S.reshape(-1, 2).mean(1) if draws >= 4 and draws % 2 == 0 else top_S
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return Predictive(mean_K, (std_K, low_K, high_K), aleatoric + epistemic, aleatoric, epistemic, error)


def _quantile(ordered_SK: DoubleArray, share: float) -> DoubleArray:
    """Between the two nearest of S ordered values, as numpy's own function does in ten times the time."""
    place = share * (len(ordered_SK) - 1)
    below = int(place)
    above = min(below + 1, len(ordered_SK) - 1)
    return np.asarray(ordered_SK[below] + (place - below) * (ordered_SK[above] - ordered_SK[below]))


def softmax(logits: npt.NDArray[np.floating]) -> DoubleArray:
    """Probabilities over the last dimension."""
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(-1, keepdims=True))


def entropy(p: DoubleArray) -> DoubleArray:
    """Entropy over the last dimension, in nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1))
