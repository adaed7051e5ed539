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
import numpy.typing as npt

from service.types import DoubleArray, FloatArray

# Ends of the interval, which lie between the smallest and the largest draw from so many on.
INTERVAL, MIN_INTERVAL_DRAWS = (0.05, 0.95), 20
# Two-sided 95 % quantiles of the normal distribution and of Student's t with 1, 2, … degrees of freedom.
NORMAL = 1.959964
# Of Gauss-Hermite quadrature for the standard normal distribution.
NODES, WEIGHTS = (np.asarray(each) for each in np.polynomial.hermite_e.hermegauss(7))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
# Below every probability that is not zero, and the largest exponent of a float64.
TINY, LARGEST_EXPONENT = 1e-300, 700.0
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclass(frozen=True)
class Draws:
    """Predictions of N images under S draws.

    `p` [S, N, K] holds the prediction of each draw; `entropies` [S, N] and `log_sums` [S, N] its entropy and ln Σ_k
    exp(logits_k / T). `mean` [N, K] is the mean prediction, `surprise` [N, K] −ln of it. Draws take turns
    through so many `members`.
    """

    p: DoubleArray
    entropies: DoubleArray
    log_sums: DoubleArray
    mean: DoubleArray
    surprise: DoubleArray
    members: int = 1

    @classmethod
    def from_logits(cls, logits_SNK: FloatArray, temperature: float, members: int = 1) -> Self:
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
        return cls(p_SNK, entropies_SN, top_SN1[..., 0] + log_total_SN, mean_NK, surprise_NK, members)

    def take(self, images: Sequence[int]) -> Draws:
        """Select images by index; bit for bit the same as `from_logits` on these images alone."""
        if len(images) == len(self.mean):
            return self
        p_SNK, entropies_SN, log_sums_SN = (each[:, images] for each in (self.p, self.entropies, self.log_sums))
        return Draws(p_SNK, entropies_SN, log_sums_SN, self.mean[images], self.surprise[images], self.members)

    def first(self, count: int) -> Draws:
        """Select the first draws."""
        mean_NK = np.add.reduce(self.p[:count], 0) / count
        surprise_NK = -np.log(mean_NK + (mean_NK == 0))
        parts = self.p[:count], self.entropies[:count], self.log_sums[:count]
        return Draws(*parts, mean_NK, surprise_NK, self.members)

    def __len__(self) -> int:
        """Return S."""
        return len(self.p)

    @cached_property
    def cross_entropies(self) -> DoubleArray:
        """Compute −Σ_k p_sk ln p̄_k [S, N], whose mean over draws is the entropy of the mean."""
        return np.asarray(np.add.reduce(self.p * self.surprise, -1))

    @cached_property
    def error_of_top(self) -> tuple[DoubleArray, int] | None:
        """Estimate the standard error [N] of the top class's probability, and its degrees of freedom.

        None for a single draw.
        """
        return _error_of_top(self)

    @property
    def standard_error(self) -> DoubleArray | None:
        """Return that error [N], raised by `student_factor`, None for a single draw."""
        if self.error_of_top is None:
            return None
        error_N, freedom = self.error_of_top
        return student_factor(freedom) * error_N


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
        return cls(draws, _std(block), _interval(draws), total_N, aleatoric_N, epistemic_N, draws.standard_error)

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


def _error_of_top(draws: Draws) -> tuple[DoubleArray, int] | None:
    if len(draws) == 1:
        return None
    top_N = draws.mean.argmax(1)
    if len(draws) >= 4 * draws.members and len(draws) % (2 * draws.members) == 0:
        return _error_by_log_odds(draws, top_N)
    values_NS = np.ascontiguousarray(draws.p[:, np.arange(len(top_N)), top_N].T)
    # Only means of antithetic pairs are independent of each other. A single pair is taken for two draws.
    if len(draws) >= 4 and (pairs_PN := pairs_of(values_NS.T, draws.members)) is not None:
        values_NS = np.ascontiguousarray(pairs_PN.T)
    count = values_NS.shape[1]
    deviation_NS = values_NS - np.add.reduce(values_NS, 1, keepdims=True) / count
    deviation_NS *= deviation_NS
    return np.sqrt(np.add.reduce(deviation_NS, 1) / (count * (count - 1))), count - 1


def _error_by_log_odds(draws: Draws, top_N: npt.NDArray[np.intp]) -> tuple[DoubleArray, int]:
    """Estimate the standard error from log odds, z = ln p/(1−p), which are nearly normal where p is skewed.

    With P antithetic pairs of each of M members, z = m + e ± d: the mean m of a member, e of a pair, and d ~ N(0, s²),
    which most pairs have alone. The variance of a pair's mean p is that of [σ(m+d) + σ(m−d)]/2, by Gauss–Hermite
    quadrature, and (E dσ/dz)² Var e. What members differ by is no error of the mean.
    """
    count, members, images = len(draws) // (2 * draws.members), draws.members, np.arange(len(top_N))
    others_SNK = draws.p.copy()
    others_SNK[:, images, top_N] = 0.0
    log_odds_SN = np.log(draws.p[:, images, top_N] + TINY) - np.log(np.add.reduce(others_SNK, -1) + TINY)
    # Reduced axes are contiguous and last, so that no other image changes a bit.
    pairs_NMP2 = np.ascontiguousarray(log_odds_SN.T.reshape(-1, count, 2, members).transpose(0, 3, 1, 2))
    mean_NMP = (pairs_NMP2[..., 0] + pairs_NMP2[..., 1]) / 2
    half_NMP = (pairs_NMP2[..., 0] - pairs_NMP2[..., 1]) / 2
    mean_NM1 = np.add.reduce(mean_NMP, -1, keepdims=True) / count
    between_N = _sum_of_squares(mean_NMP - mean_NM1) / (members * (count - 1))
    spread_N = np.sqrt(_sum_of_squares(half_NMP) / (members * count))
    reach_N1Q = spread_N[:, None, None] * NODES
    # Of p and 1 − p the smaller one has the digits; their variances are the same.
    tail_NM1 = -np.abs(mean_NM1)
    up_NMQ, down_NMQ = _sigmoid(tail_NM1 + reach_N1Q), _sigmoid(tail_NM1 - reach_N1Q)
    both_NMQ = (up_NMQ + down_NMQ) / 2
    both_NMQ -= np.add.reduce(WEIGHTS * both_NMQ, -1, keepdims=True)
    within_NM = np.add.reduce(WEIGHTS * both_NMQ * both_NMQ, -1)
    slope_NM = np.add.reduce(WEIGHTS * up_NMQ * (1 - up_NMQ), -1)
    variance_NM = within_NM + slope_NM * slope_NM * between_N[:, None]
    return np.sqrt(np.add.reduce(variance_NM, -1) / (count * members * members)), members * (count - 1)


def _sum_of_squares(values_NMP: DoubleArray) -> DoubleArray:
    return np.asarray(np.add.reduce((values_NMP * values_NMP).reshape(len(values_NMP), -1), -1))


def _sigmoid(x: DoubleArray) -> DoubleArray:
    return np.asarray(1 / (1 + np.exp(np.minimum(-x, LARGEST_EXPONENT))))


def pairs_of(values: npt.NDArray[np.floating], members: int) -> npt.NDArray[np.floating] | None:
    """Return the means of antithetic pairs [S / 2, …] of draws [S, …], None where one has no partner.

    With M members, the partner of a draw is M draws later, in every other round through them.
    """
    if len(values) % (2 * members):
        return None
    rounds = values.reshape(-1, 2, members, *values.shape[1:])
    return np.asarray((rounds[:, 0] + rounds[:, 1]) / 2).reshape(-1, *values.shape[1:])
