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
    """The predictive distribution of N images: arrays [N, K], entropies and standard error [N]."""

    mean: DoubleArray
    std: DoubleArray
    low: DoubleArray
    high: DoubleArray
    total: DoubleArray
    aleatoric: DoubleArray
    epistemic: DoubleArray
    standard_error: DoubleArray


def predictive(logits_SNK: FloatArray, temperature: float) -> Predictive:
    """Summarise draws. `standard_error` is that of the top class's probability; NaN for a single draw."""
    p_SNK = softmax(logits_SNK.astype(np.float64) / temperature)
    mean = p_SNK.mean(0)
    low, high = np.quantile(p_SNK, INTERVAL, axis=0)
    aleatoric = entropy(p_SNK).mean(0)
    epistemic = np.maximum(entropy(mean) - aleatoric, 0.0)
    num_draws = len(p_SNK)
    spread = p_SNK.std(0, ddof=1) if num_draws > 1 else np.zeros_like(mean)
    top = mean.argmax(1)[:, None]
    error = (
        np.take_along_axis(spread, top, 1)[:, 0] / np.sqrt(num_draws) if num_draws > 1 else np.full(len(top), np.nan)
    )
    return Predictive(mean, spread, low, high, aleatoric + epistemic, aleatoric, epistemic, error)


def softmax(logits: DoubleArray) -> DoubleArray:
    """Probabilities over the last dimension."""
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(-1, keepdims=True))


def entropy(p: DoubleArray) -> DoubleArray:
    """Entropy over the last dimension, in nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1))
