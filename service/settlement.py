"""When an answer is settled: more draws would change neither its class nor its decision.

Of n draws of an image, p_s is the s-th draw's prediction and p̄ their mean. Two margins decide:

    class       p̄₁ − p̄₂, of the two most probable classes; each draw's part is p_s₁ − p_s₂
    decision    H(p̄) − threshold; to first order each draw's part is −Σ_k p_sk ln p̄_k

An answer is settled when each margin is further from zero than its mean is uncertain at 99 % (Student's t), and the
standard error of the top probability is within the tolerance. Draws come in antithetic pairs, so that the means of
pairs spread less than single draws do, but are half as many: the better of the two bounds holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.artifact import FloatArray
from service.uncertainty import softmax

# An answer may settle after these many draws, and then whenever their number has doubled.
BLOCKS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
# Two-sided 99 % quantiles of Student's t, by the number of values that a standard error was estimated from.
STUDENT = {
    2: 63.657,
    4: 5.841,
    8: 3.499,
    16: 2.947,
    32: 2.744,
    64: 2.656,
    128: 2.615,
    256: 2.595,
    512: 2.586,
    1024: 2.581,
}
TINY = 1e-12


@dataclass(frozen=True)
class Settlement:
    """What settles the answers of one level: temperature, threshold of the predictive entropy in nats, tolerance."""

    temperature: float
    abstain_above: float
    tolerance: float

    def settled(self, logits_SNK: FloatArray) -> npt.NDArray[np.bool_]:
        """Of N images under S draws, S one of `BLOCKS`, which are settled."""
        p_SNK = softmax(logits_SNK / np.float32(self.temperature))
        draws = len(p_SNK)
        mean_NK = np.add.reduce(p_SNK, 0) / draws
        order, images = mean_NK.argsort(1), np.arange(len(mean_NK))
        first, second = order[:, -1], order[:, -2]
        surprise_NK = -np.log(mean_NK + TINY)
        parts_S3N = np.empty((draws, 3, len(mean_NK)))
        parts_S3N[:, 2] = p_SNK[:, images, first]
        parts_S3N[:, 0] = parts_S3N[:, 2] - p_SNK[:, images, second]
        parts_S3N[:, 1] = np.add.reduce(p_SNK * surprise_NK, 2)
        mean_3N = np.add.reduce(parts_S3N, 0) / draws
        deviation_S3N = parts_S3N - mean_3N
        single_3N = _error(deviation_S3N)
        paired_3N = _error((deviation_S3N[0::2] + deviation_S3N[1::2]) / 2)
        reach_3N = np.minimum(STUDENT[draws] * single_3N, STUDENT[draws // 2] * paired_3N)
        settled_N: npt.NDArray[np.bool_] = (
            (mean_3N[0] > reach_3N[0])
            & (np.abs(mean_3N[1] - self.abstain_above) > reach_3N[1])
            & (np.minimum(single_3N, paired_3N)[2] <= self.tolerance)
        )
        return settled_N


def _error(deviation: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The standard error of the mean of values [n, …], from how far they are from it."""
    count = len(deviation)
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (count * (count - 1))))
