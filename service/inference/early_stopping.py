"""When an answer is settled: more draws would change neither its class nor its decision.

Of n draws of an image, p_s is the s-th draw's prediction and p̄ their mean. Three margins decide:

    class         p̄₁ − p̄₂, of the two most probable classes; each draw's part is p_s₁ − p_s₂
    uncertain     H(p̄) − threshold; to first order each draw's part is −Σ_k p_sk ln p̄_k
    strangeness   score − threshold, where the level has one; each draw's part is as `service.inference.ood` gives it

An answer is settled when each margin is further from zero than its mean is uncertain at 99 % (Student's t), and the
standard error of the top probability is within the tolerance. What is out of distribution is abstained on, uncertain or
not, so that its second margin is not asked. Draws come in antithetic pairs, so that the means of pairs spread less than
single draws do, but are half as many: the better of the two bounds holds.

Mutual information is the exception. The noise's sign hardly matters to it, so that both draws of a pair say the same,
and only the bound from pairs holds; and it is skewed as squares are, so that its margin is that of its logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration, Strangeness
from service.inference.ood import SCORES
from service.inference.uncertainty import Draws
from service.types import DoubleArray, FloatArray

# An answer may settle after these many draws, and then whenever their number has doubled.
CHECKPOINTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
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
EPSILON = 1e-12


@dataclass(frozen=True)
class EarlyStopping:
    """What settles the answers of one level.

    Temperature, threshold of the predictive entropy in nats, tolerance, and the score of strangeness with its own.
    """

    temperature: float
    abstain_above: float
    tolerance: float
    out_of_distribution: Strangeness | None = None

    @classmethod
    def of(cls, calibration: Calibration, tolerance: float) -> EarlyStopping:
        """The rule for a level that is so calibrated."""
        return cls(calibration.temperature, calibration.abstain_above, tolerance, calibration.out_of_distribution)

    def settled(self, logits_SNK: FloatArray) -> npt.NDArray[np.bool_]:
        """Of N images under S draws, S one of `BLOCKS`, which are settled."""
        draws = Draws.of(logits_SNK, self.temperature)
        count, images, strange = len(draws), len(draws.mean), self.out_of_distribution
        top_N2 = draws.mean.argsort(1)[:, -2:]
        top_SN2 = draws.p[:, np.arange(images)[:, None], top_N2]
        parts_SMN = np.empty((count, 3 if strange is None else 4, images))
        parts_SMN[:, 0] = top_SN2[..., 1] - top_SN2[..., 0]
        parts_SMN[:, 1] = draws.cross_entropies
        parts_SMN[:, 2] = top_SN2[..., 1]
        if strange is not None:
            parts_SMN[:, 3] = SCORES[strange.score](draws)
        mean_MN = np.add.reduce(parts_SMN, 0) / count
        deviation_SMN = parts_SMN - mean_MN
        single_MN = _error(deviation_SMN)
        paired_MN = _error((deviation_SMN[0::2] + deviation_SMN[1::2]) / 2)
        paired_reach_MN = STUDENT[count // 2] * paired_MN
        reach_MN = np.minimum(STUDENT[count] * single_MN, paired_reach_MN)
        decided_N = np.abs(mean_MN[1] - self.abstain_above) > reach_MN[1]
        if strange is not None:
            margin_N, reach_N = mean_MN[3] - strange.above, reach_MN[3]
            if strange.score == "mutual_information":
                margin_N, reach_N = _of_logarithm(mean_MN[3], strange.above, paired_reach_MN[3])
            decided_N = (margin_N > reach_N) | (decided_N & (margin_N < -reach_N))
        settled_N: npt.NDArray[np.bool_] = (
            (mean_MN[0] > reach_MN[0]) & decided_N & (np.minimum(single_MN, paired_MN)[2] <= self.tolerance)
        )
        return settled_N


def _of_logarithm(
    mean_N: DoubleArray, above: float, reach_N: npt.NDArray[np.floating]
) -> tuple[DoubleArray, npt.NDArray[np.floating]]:
    """How far the logarithm of a mean is above that of a threshold, and its reach, to first order."""
    return np.log((mean_N + EPSILON) / (max(above, 0.0) + EPSILON)), reach_N / (mean_N + EPSILON)


def _error(deviation: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The standard error of the mean of values [n, …], from how far they are from it."""
    count = len(deviation)
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (count * (count - 1))))
