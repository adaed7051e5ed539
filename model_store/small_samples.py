"""Say what a number of images can tell: how sure a share of them is, which prediction sets they allow, what draws gain.

Training, pruning and the service say it alike; this module imports nothing.
"""

from __future__ import annotations

import math
from enum import StrEnum

# Two-sided 95 % quantile of the normal distribution.
NORMAL_QUANTILE = 1.959963984540054
# Error rates of prediction sets that levels are calibrated for, where their calibration images allow it.
ALPHAS = (0.1, 0.05, 0.01)
# Standard errors that a gain must exceed.
SIGNIFICANT = 2.0
# Nats below which a gain is not worth the draws. Where it may be more, within its errors, too few images were tested.
WORTHWHILE = 0.01


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability of which `share` of `count` cases were seen (Wilson 1927).

    Unlike that of Wald it has about its coverage for few cases, and near 0 and 1.
    """
    z2 = NORMAL_QUANTILE**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def interval_text(share: float, count: int) -> str:
    """Return the interval of a share as text, such as 88.4-96.4%."""
    low, high = wilson_interval(share, count)
    return f"{100 * low:.1f}-{100 * high:.1f}%"


def accuracy_text(accuracy: float, count: int | None) -> str:
    """Return an accuracy on so many test images with its interval as text; without, if their number is not known."""
    if count is None:
        return f"{accuracy:.2%}"
    return f"{accuracy:.2%} ({interval_text(accuracy, count)} on {count:,} images)"


def images_needed(alpha: float) -> int:
    """Return how many calibration images prediction sets with the error rate α take: ⌈1/α⌉ − 1.

    With n images a set is bounded by the ⌈(n+1)(1−α)⌉-th smallest of their scores (Vovk et al. 2005).
    """
    return math.ceil(1 / alpha - 1e-9) - 1


def no_better_than(share: float, accuracy: float, count: int) -> bool:
    """Return whether so many images leave open that an accuracy is no higher than `share`, that of one class alone."""
    return wilson_interval(accuracy, count)[0] <= share


class DrawsGain(StrEnum):
    """Say whether draws are better than their mean network; each value is the sentence for it."""

    CLEAR = "draws gain more than two standard errors"
    UNCLEAR = "too few test images to tell whether draws gain: it lies within two standard errors"
    NOTHING = "draws add nothing here: the gain is not above two standard errors"

    @property
    def worth_drawing(self) -> bool:
        """Tell whether draws are to be served: unless they add nothing."""
        return self is not DrawsGain.NOTHING


def judge(gain: float, error: float) -> DrawsGain:
    """Judge a gain in nats by its standard error."""
    if gain > SIGNIFICANT * error:
        return DrawsGain.CLEAR
    return DrawsGain.UNCLEAR if gain + SIGNIFICANT * error > WORTHWHILE else DrawsGain.NOTHING
