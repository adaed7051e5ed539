"""Summarise posterior draws: probabilities, intervals and entropies, in float64 and nats.

With p_s = softmax(logits_s / T) and p̄ their mean: total = H(p̄), aleatoric = mean of H(p_s), epistemic = total −
aleatoric, the mutual information of label and weights (Depeweg et al. 2018).

A rule that stops sampling once draws agree prefers draws that agree by chance: their spread is too small. So where
the number of draws depends on them, standard deviation and mutual information are of a first block of draws, whatever
the number in the end; total is of all of them, and aleatoric what remains of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Self

import numpy as np

from service.types import DoubleArray, FloatArray

# Ends of the interval, which lie between the smallest and the largest draw from so many on.
INTERVAL, MIN_INTERVAL_DRAWS = (0.05, 0.95), 20
# Two-sided 95 % quantiles of the normal distribution and of Student's t with 1, 2, … degrees of freedom.
NORMAL = 1.959964
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclass(frozen=True)
class Draws:
    """Predictions of N images under S draws.

    `p` [S, N, K] holds the prediction of each draw; `entropies` [S, N] and `log_sums` [S, N] its entropy and ln Σ_k
    exp(logits_k / T). `mean` [N, K] is the mean prediction, `surprise` [N, K] −ln of it.
    """

    p: DoubleArray
    entropies: DoubleArray
    log_sums: DoubleArray
    mean: DoubleArray
    surprise: DoubleArray

    @classmethod
    def from_logits(cls, logits_SNK: FloatArray, temperature: float) -> Self:
        """Normalise logits float32 [S, N, K]."""
        scaled_SNK = logits_SNK / np.float64(temperature)
        top_SN1 = np.maximum.reduce(scaled_SNK, -1, keepdims=True)
        scaled_SNK -= top_SN1
        p_SNK = np.exp(scaled_SNK)
        total_SN1 = np.add.reduce(p_SNK, -1, keepdims=True)
        p_SNK /= total_SN1
        log_total_SN = np.log(total_SN1)[..., 0]
        # A sum of positive terms only, unlike Σ p ln p.
        entropies_SN = log_total_SN - np.add.reduce(p_SNK * scaled_SNK, -1)
        mean_NK = np.add.reduce(p_SNK, 0) / len(p_SNK)
        surprise_NK = -np.log(mean_NK + (mean_NK == 0))
        return cls(p_SNK, entropies_SN, top_SN1[..., 0] + log_total_SN, mean_NK, surprise_NK)

    def take(self, images: Sequence[int]) -> Draws:
        """Select images by index; bit for bit the same as `from_logits` on these images alone."""
        if len(images) == len(self.mean):
            return self
        p_SNK, entropies_SN, log_sums_SN = (each[:, images] for each in (self.p, self.entropies, self.log_sums))
        return Draws(p_SNK, entropies_SN, log_sums_SN, self.mean[images], self.surprise[images])

    def first(self, count: int) -> Draws:
        """Select the first draws."""
        mean_NK = np.add.reduce(self.p[:count], 0) / count
        surprise_NK = -np.log(mean_NK + (mean_NK == 0))
        return Draws(self.p[:count], self.entropies[:count], self.log_sums[:count], mean_NK, surprise_NK)

    def __len__(self) -> int:
        """Return S."""
        return len(self.p)

    @cached_property
    def cross_entropies(self) -> DoubleArray:
        """Compute −Σ_k p_sk ln p̄_k [S, N], whose mean over draws is the entropy of the mean."""
        return np.asarray(np.add.reduce(self.p * self.surprise, -1))


@dataclass(frozen=True)
class Predictive:
    """Predictive distributions of N images; entropies [N] in nats.

    `std` [N, K] is the standard deviation over draws, zero for a single one, and `interval` [2, N, K] their 5 % and
    95 % quantiles, None from fewer than `MIN_INTERVAL_DRAWS`. `standard_error` [N] is that of the top class's
    probability, raised by `student_factor`, None for a single draw.
    """

    draws: Draws
    std: DoubleArray
    interval: DoubleArray | None
    total: DoubleArray
    aleatoric: DoubleArray
    epistemic: DoubleArray
    standard_error: DoubleArray | None

    @classmethod
    def from_draws(cls, draws: Draws, first: int | None = None) -> Self:
        """Summarise draws that come in antithetic pairs (`service.inference.bank`).

        `first` is the size of the first block, where the number of draws depends on them.
        """
        block, (aleatoric_N, epistemic_N) = draws, parts(draws)
        total_N = aleatoric_N + epistemic_N
        if first is not None and first < len(draws):
            block = draws.first(first)
            epistemic_N = np.minimum(parts(block)[1], total_N)
            aleatoric_N = total_N - epistemic_N
        return cls(draws, _std(block), _interval(draws), total_N, aleatoric_N, epistemic_N, _standard_error(draws))

    @property
    def mean(self) -> DoubleArray:
        """Return the probabilities [N, K]."""
        return self.draws.mean


def mean_of_draws(values_SN: DoubleArray) -> DoubleArray:
    """Average over draws to [N]; the bits do not depend on the number of images."""
    return np.asarray(np.add.reduce(np.ascontiguousarray(values_SN.T), 1) / len(values_SN))


@cache
def student_factor(freedom: int) -> float:
    """Return by how much a standard error with so many degrees of freedom is raised, so that ±1.96 of it hold 95 %.

    It is Student's quantile over the normal one; beyond the table by Fisher's expansion (Abramowitz & Stegun 26.7.5).
    """
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1] / NORMAL
    square = NORMAL**2
    return 1 + (square + 1) / (4 * freedom) + (5 * square**2 + 16 * square + 3) / (96 * freedom**2)


def parts(draws: Draws) -> tuple[DoubleArray, DoubleArray]:
    """Return the aleatoric and the epistemic part [N] of the entropy of the mean."""
    aleatoric_N = mean_of_draws(draws.entropies)
    return aleatoric_N, np.maximum(np.add.reduce(draws.mean * draws.surprise, -1) - aleatoric_N, 0.0)


# Written out: numpy's own functions take several times as long for so few values.
def _std(draws: Draws) -> DoubleArray:
    if len(draws) == 1:
        return np.zeros_like(draws.mean)
    deviation_SNK = draws.p - draws.mean
    deviation_SNK *= deviation_SNK
    return np.asarray(np.sqrt(np.add.reduce(deviation_SNK, 0) / (len(draws) - 1)))


def _interval(draws: Draws) -> DoubleArray | None:
    """Interpolate between order statistics so that the interval holds 90 % of all draws on average (Weibull 1939)."""
    if len(draws) < MIN_INTERVAL_DRAWS:
        return None
    interval_2NK, ordered_SNK = np.empty((2, *draws.mean.shape)), np.sort(draws.p, 0)
    for quantile_NK, share in zip(interval_2NK, INTERVAL, strict=True):
        place = share * (len(draws) + 1) - 1
        below = int(place)
        low_NK, high_NK = ordered_SNK[below], ordered_SNK[below + 1]
        np.add(low_NK, (place - below) * (high_NK - low_NK), out=quantile_NK)
    return interval_2NK


def _standard_error(draws: Draws) -> DoubleArray | None:
    if len(draws) == 1:
        return None
    images = np.arange(len(draws.mean))
    values_NS = np.ascontiguousarray(draws.p[:, images, draws.mean.argmax(1)].T)
    # Only means of antithetic pairs are independent of each other. A single pair is taken for two draws.
    if len(draws) >= 4 and len(draws) % 2 == 0:
        values_NS = (values_NS[:, 0::2] + values_NS[:, 1::2]) / 2
    count = values_NS.shape[1]
    deviation_NS = values_NS - np.add.reduce(values_NS, 1, keepdims=True) / count
    deviation_NS *= deviation_NS
    error_N = np.sqrt(np.add.reduce(deviation_NS, 1) / (count * (count - 1)))
    return np.asarray(student_factor(count - 1) * error_N)
