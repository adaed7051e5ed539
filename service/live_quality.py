"""Quality of a level's answers by labels that came later: accuracy, calibration error and coverage, with intervals.

Intervals of shares are Wilson's. That of the calibration error is by bootstrap, reflected, since resampling adds to the
error what chance adds; it begins at zero where labels drawn with the confidences themselves have as large an error. All
are of 95 %, over the latest `WINDOW` labelled images.

Of n images, sets with the error rate α that were calibrated on m others hold the label of X, and by chance alone, over
images and over calibration sets, X follows a beta-binomial distribution with a = ⌈(m+1)(1−α)⌉ and b = m + 1 − a (Vovk
2012): the p-value is P(X ≤ x). Of an unknown m it is that of the binomial distribution.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.small_samples import wilson_interval
from service.types import DoubleArray

WINDOW = 1000
# Labels from which on an interval says something.
MIN_LABELS = 20
ECE_BINS, RESAMPLES, TAILS = 15, 200, (0.025, 0.975)
# p-value below which sets hold the label too rarely for chance: about one false alarm in a thousand windows.
BEYOND_CHANCE = 1e-3


class AnsweredImage(NamedTuple):
    """Hold what was answered of one image: top class, its probability, the decision, and the set as bits by class.

    `alpha` is the set's error rate; without one there is no set.
    """

    top: int
    confidence: float
    accepted: bool
    alpha: float | None
    set_bits: int


class LabelledImage(NamedTuple):
    """An answered image and its label: whether the top class was right, and whether the set holds the label."""

    right: bool
    confidence: float
    accepted: bool
    alpha: float | None
    covered: bool


class Estimate(NamedTuple):
    """A figure with the ends of its 95 % interval, and the number of images that it is of."""

    value: float
    low: float
    high: float
    images: int


class LiveQuality:
    """Labels of one level's answers; only the event loop writes it, any thread may read.

    `calibration_images` is the number that its prediction sets were calibrated on, None if unknown.
    """

    def __init__(self, calibration_images: int | None) -> None:
        self.calibration_images = calibration_images
        self.labels = 0
        self._latest: deque[LabelledImage] = deque(maxlen=WINDOW)

    def record(self, image: AnsweredImage, label: int) -> None:
        """Add the label of one answered image."""
        self.labels += 1
        covered = image.alpha is not None and bool(image.set_bits >> label & 1)
        self._latest.append(LabelledImage(image.top == label, image.confidence, image.accepted, image.alpha, covered))

    @property
    def accuracy(self) -> Estimate | None:
        """Return the share of right answers, None while there are too few labels."""
        return _share([each.right for each in list(self._latest)])

    @property
    def accepted_accuracy(self) -> Estimate | None:
        """Return the share of right answers among those that were accepted."""
        return _share([each.right for each in list(self._latest) if each.accepted])

    @property
    def ece(self) -> Estimate | None:
        """Return the expected calibration error of the top class, in 15 bins of equal width."""
        latest = list(self._latest)
        if len(latest) < MIN_LABELS:
            return None
        right_N = np.array([each.right for each in latest])
        return _calibration_error(np.array([each.confidence for each in latest]), right_N)

    @property
    def coverage(self) -> dict[float, Estimate]:
        """Return the share of prediction sets that hold the label, by error rate."""
        by_alpha: dict[float, list[bool]] = {}
        for each in list(self._latest):
            if each.alpha is not None:
                by_alpha.setdefault(each.alpha, []).append(each.covered)
        estimates = {alpha: _share(covered) for alpha, covered in sorted(by_alpha.items())}
        return {alpha: estimate for alpha, estimate in estimates.items() if estimate is not None}

    def coverage_p_value(self, alpha: float, coverage: Estimate) -> float:
        """Return how probable so few sets with the label are by chance, where calibrated images are as these."""
        held = round(coverage.value * coverage.images)
        if self.calibration_images is None:
            return binomial_tail(held, coverage.images, 1 - alpha)
        total = self.calibration_images + 1
        a = min(self.calibration_images, math.ceil(total * (1 - alpha) - 1e-9))
        return beta_binomial_tail(held, coverage.images, a, total - a)


def _share(cases: list[bool]) -> Estimate | None:
    if len(cases) < MIN_LABELS:
        return None
    value = sum(cases) / len(cases)
    low, high = wilson_interval(value, len(cases))
    return Estimate(value, min(low, value), max(high, value), len(cases))


def _calibration_error(confidence_N: DoubleArray, right_N: npt.NDArray[np.bool_]) -> Estimate:
    count, generator = len(confidence_N), np.random.default_rng(0)
    bins_N = np.ceil(confidence_N * ECE_BINS).astype(int).clip(1, ECE_BINS) - 1
    of_bin_NB = bins_N[:, None] == np.arange(ECE_BINS)

    def ece(gaps_RN: DoubleArray) -> DoubleArray:
        return np.asarray(np.abs(gaps_RN @ of_bin_NB).sum(-1) / count)

    gap_N = right_N - confidence_N
    value = float(ece(gap_N))
    weights_RN = generator.multinomial(count, [1 / count] * count, RESAMPLES)
    low, high = np.quantile(ece(weights_RN * gap_N), TAILS).tolist()
    calibrated_R = ece((generator.random((RESAMPLES, count)) < confidence_N) - confidence_N)
    low, high = max(0.0, 2 * value - high), min(1.0, max(value, 2 * value - low))
    return Estimate(value, 0.0 if value <= np.quantile(calibrated_R, TAILS[1]) else low, high, count)


def binomial_tail(held: int, count: int, share: float) -> float:
    """Return P(X ≤ held) of the binomial distribution."""
    logs = (math.log(share), math.log1p(-share))
    return _total(_log_choose(count, k) + k * logs[0] + (count - k) * logs[1] for k in range(held + 1))


def beta_binomial_tail(held: int, count: int, a: float, b: float) -> float:
    """Return P(X ≤ held) of the beta-binomial distribution."""
    return _total(_log_choose(count, k) + _log_beta(k + a, count - k + b) - _log_beta(a, b) for k in range(held + 1))


def _total(logs: Iterable[float]) -> float:
    return min(1.0, math.fsum(map(math.exp, logs)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
