"""Stop Monte-Carlo sampling early: once class and decision are stable at 99 % confidence.

Of n draws of an image, p_s is the s-th draw's prediction and p̄ their mean. Three margins decide:

    class       p̄₁ − p̄₂, of the two most probable classes; per draw p_s₁ − p_s₂
    uncertain   H(p̄) − threshold; to first order per draw −Σ_k p_sk ln p̄_k
    OOD         score − threshold, where the level has one; per draw as in `service.inference.ood`

Sampling has converged when each margin is further from zero than its 99 % interval (Student's t), and the standard
error of the top probability, as the answer reports it, is within the tolerance. An image that is out of distribution
is abstained on in any case, so its second margin is not required. Draws come in antithetic pairs: means of pairs vary
less than single draws do, but are half as many, so the tighter of the two bounds holds.

Mutual information is the exception. It hardly depends on the sign of the noise, so both draws of a pair say the same,
and only the bound from pairs holds; and its distribution is skewed like that of a square, so its margin is taken in
logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration, Strangeness
from service.inference.ood import SCORES
from service.inference.uncertainty import Draws, student_factor

# Numbers of draws at which convergence is tested.
CHECKPOINTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
# Two-sided 99 % quantiles of Student's t, by the number of values behind a standard error: 2 and the checkpoints.
QUANTILES = (63.657, 5.841, 3.499, 2.947, 2.744, 2.656, 2.615, 2.595, 2.586, 2.581)
STUDENT = dict(zip((2, *CHECKPOINTS), QUANTILES, strict=True))
EPSILON = 1e-12


@dataclass(frozen=True)
class EarlyStopping:
    """The stopping rule of one level.

    `abstain_above` is the threshold of the predictive entropy in nats, `tolerance` the largest standard error of the
    top probability (`Predictive.standard_error`), `ood` the OOD score and its threshold.
    """

    temperature: float
    abstain_above: float
    tolerance: float
    ood: Strangeness | None = None

    @classmethod
    def from_calibration(cls, calibration: Calibration, tolerance: float) -> Self:
        """Build the rule of a level from its manifest's calibration."""
        return cls(calibration.temperature, calibration.abstain_above, tolerance, calibration.out_of_distribution)

    @property
    def first_draws(self) -> int:
        """Return the number of draws that every image gets, of which spreads are measured."""
        return CHECKPOINTS[0]

    def converged(self, draws: Draws) -> npt.NDArray[np.bool_]:
        """Test each of N images for convergence; the number of draws is one of `CHECKPOINTS`."""
        count, images, ood = len(draws), len(draws.mean), self.ood
        top_N2 = draws.mean.argsort(1)[:, -2:]
        top_SN2 = draws.p[:, np.arange(images)[:, None], top_N2]
        parts_SMN = np.empty((count, 3 if ood is None else 4, images))
        parts_SMN[:, 0] = top_SN2[..., 1] - top_SN2[..., 0]
        parts_SMN[:, 1] = draws.cross_entropies
        parts_SMN[:, 2] = top_SN2[..., 1]
        if ood is not None:
            parts_SMN[:, 3] = SCORES[ood.score](draws)
        mean_MN = np.add.reduce(parts_SMN, 0) / count
        deviation_SMN = parts_SMN - mean_MN
        single_MN = _standard_error(deviation_SMN)
        paired_MN = _standard_error((deviation_SMN[0::2] + deviation_SMN[1::2]) / 2)
        paired_reach_MN = STUDENT[count // 2] * paired_MN
        reach_MN = np.minimum(STUDENT[count] * single_MN, paired_reach_MN)
        decided_N = np.abs(mean_MN[1] - self.abstain_above) > reach_MN[1]
        if ood is not None:
            margin_N, reach_N = mean_MN[3] - ood.above, reach_MN[3]
            if ood.score == "mutual_information":  # compare logarithms, whose reach is to first order
                positive_N = mean_MN[3] + EPSILON
                margin_N = np.log(positive_N / (max(ood.above, 0.0) + EPSILON))
                reach_N = paired_reach_MN[3] / positive_N
            decided_N = (margin_N > reach_N) | (decided_N & (margin_N < -reach_N))
        error_N = student_factor(count // 2 - 1) * paired_MN[2]
        converged_N: npt.NDArray[np.bool_] = (mean_MN[0] > reach_MN[0]) & decided_N & (error_N <= self.tolerance)
        return converged_N


def _standard_error(deviation: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Estimate the standard error of a mean of values [n, …] from their deviations."""
    count = len(deviation)
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (count * (count - 1))))
