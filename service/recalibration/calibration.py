"""Fit a level's temperature, prediction sets and thresholds to the draws that the service makes of labelled pictures.

The rules are those of `pruning.evaluation.calibration`, here in numpy, since the service has no torch. Which OOD score
is used was chosen on OOD images when the level was published, and stays; its threshold is measured anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration, Level, Score, Strangeness
from model_store.small_samples import ALPHAS, images_needed
from service.inference.ood import ood_score
from service.inference.uncertainty import Draws, parts
from service.types import DoubleArray, FloatArray

Labels = npt.NDArray[np.int64]
# Prior of ln T, and the range that T is sought in.
TEMPERATURE_PRIOR_STD, LOG_RANGE, TOLERANCE = 0.5, 3.0, 1e-6
GOLDEN = (math.sqrt(5) - 1) / 2
# Largest share of images that the abstention threshold accepts, and their largest error rate.
MAX_ACCEPTED_SHARE, MAX_ACCEPTED_RISK = 0.95, 0.01
# Share of images above the OOD threshold.
FALSE_POSITIVE_RATE = 0.05
MIN_PROBABILITY = 1e-12
# Numbers of draws, images and classes that are summarised together.
CHUNK_VALUES = 2**21


@dataclass(frozen=True)
class Predictions:
    """Hold what a level says of N images at a temperature: p̄ [N, K]; entropy, mutual information and OOD score [N]."""

    p_NK: DoubleArray
    entropy_N: DoubleArray
    information_N: DoubleArray
    score_N: DoubleArray

    @classmethod
    def at(cls, logits_SNK: FloatArray, temperature: float, members: int, score: Score | None) -> Predictions:
        """Summarise draws as the service does; without a score, that of no image is out of distribution."""
        found = []
        for draws in _chunks(logits_SNK, temperature, members):
            aleatoric_N, epistemic_N = parts(draws)
            score_N = np.zeros(len(draws.mean)) if score is None else ood_score(draws, score)
            found.append((draws.mean, aleatoric_N + epistemic_N, epistemic_N, score_N))
        return cls(*map(np.concatenate, zip(*found, strict=True)))


def calibrate(logits_SNK: FloatArray, labels_N: Labels, level: Level, noise_N: DoubleArray) -> Calibration:
    """Calibrate a level on the draws of labelled pictures; `noise_N` in [0, 1] is for randomised prediction sets.

    There are quantiles for those error rates that so many pictures allow.
    """
    rule, members = level.calibration.out_of_distribution, level.members
    temperature = fit_temperature(logits_SNK, labels_N, members)
    found = Predictions.at(logits_SNK, temperature, members, rule.score if rule else None)
    right_N = found.p_NK.argmax(1) == labels_N
    return Calibration(
        temperature=temperature,
        conformal_quantiles=_quantiles(1 - _of_labels(found.p_NK, labels_N)),
        aps_quantiles=_quantiles(aps_scores(found.p_NK, labels_N, noise_N)),
        abstain_above=abstention_threshold(found.entropy_N, right_N),
        out_of_distribution=rule and Strangeness(score=rule.score, above=_ood_threshold(found.score_N)),
        images=len(labels_N),
        folds=1,
    )


def fit_temperature(logits_SNK: FloatArray, labels_N: Labels, members: int) -> float:
    """Fit the maximum a posteriori temperature (Guo et al. 2017), with prior ln T ~ N(0, `TEMPERATURE_PRIOR_STD`²)."""

    def loss(log_t: float) -> float:
        start, total = 0, 0.0
        for draws in _chunks(logits_SNK, math.exp(log_t), members):
            own_N = _of_labels(draws.mean, labels_N[start : start + len(draws.mean)])
            total -= float(np.log(np.maximum(own_N, MIN_PROBABILITY)).sum())
            start += len(draws.mean)
        return (total + log_t**2 / (2 * TEMPERATURE_PRIOR_STD**2)) / len(labels_N)

    low, high = -LOG_RANGE, LOG_RANGE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > TOLERANCE:  # golden-section search (Kiefer 1953)
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)


def aps_scores(p_NK: DoubleArray, labels_N: Labels, noise_N: DoubleArray) -> DoubleArray:
    """Return APS scores (Romano et al. 2020): the mass of likelier classes, plus a random part of the label's own."""
    own_N = _of_labels(p_NK, labels_N)
    return np.asarray(np.where(p_NK > own_N[:, None], p_NK, 0.0).sum(1) + noise_N * own_N)


def abstention_threshold(entropy_N: DoubleArray, right_N: npt.NDArray[np.bool_]) -> float:
    """Return the highest entropy, in nats, at or below which the error rate is at most `MAX_ACCEPTED_RISK`.

    At most `MAX_ACCEPTED_SHARE` of all images are at or below it.
    """
    order = entropy_N.argsort(kind="stable")[: math.ceil(MAX_ACCEPTED_SHARE * len(entropy_N))]
    risk = (~right_N[order]).cumsum() / np.arange(1, len(order) + 1)
    within = (risk <= MAX_ACCEPTED_RISK).nonzero()[0]
    return float(entropy_N[order[within[-1]]]) if len(within) else 0.0


def _ood_threshold(score_N: DoubleArray) -> float:
    return float(np.sort(score_N)[math.ceil((1 - FALSE_POSITIVE_RATE) * len(score_N)) - 1])


def _quantiles(scores_N: DoubleArray) -> dict[str, float]:
    """Return the ⌈(n+1)(1−α)⌉-th smallest score (Vovk et al. 2005) by each α, as text, that n scores allow."""
    ordered = np.sort(scores_N).clip(0, 1)
    allowed = (alpha for alpha in ALPHAS if len(ordered) >= images_needed(alpha))
    return {str(alpha): float(ordered[math.ceil((len(ordered) + 1) * (1 - alpha) - 1e-9) - 1]) for alpha in allowed}


def _of_labels(p_NK: DoubleArray, labels_N: Labels) -> DoubleArray:
    return np.asarray(np.take_along_axis(p_NK, labels_N[:, None], 1)[:, 0])


def _chunks(logits_SNK: FloatArray, temperature: float, members: int) -> Iterator[Draws]:
    draws, _, classes = logits_SNK.shape
    size = max(1, CHUNK_VALUES // (draws * classes))
    for start in range(0, logits_SNK.shape[1], size):
        yield Draws.from_logits(logits_SNK[:, start : start + size], temperature, members)
