"""Stop Monte-Carlo sampling early: once class and decision are stable at 99 % confidence.

Of n draws of an image, p_s is the s-th draw's prediction and p̄ their mean. Three margins decide:

    class       p̄₁ − p̄₂, of the two most probable classes; per draw p_s₁ − p_s₂
    uncertain   H(p̄) − threshold; to first order per draw −Σ_k p_sk ln p̄_k
    OOD         score − threshold, where the level has one; per draw as in `service.inference.ood`

Sampling has converged when each margin is further from zero than its 99 % interval (Student's t), and the standard
error of the top probability, as the answer reports it, is within the tolerance. An image that is out of distribution
is abstained on in any case, so its second margin is not required. Draws come in antithetic pairs: means of pairs vary
less than single draws do, but are half as many, so the tighter of the two bounds holds.

Draws of a mixture take turns through its members, so that convergence is tested where each had as many, and what
members differ by is no error of the mean: where a member has two pairs or more, draws vary around its own mean. Before
that they vary around the mean of all, which gives a wider bound; where no draw has its partner, single draws alone do.

Mutual information is the exception. It hardly depends on the sign of the noise, so both draws of a pair say the same,
and only the bound from pairs holds; and its distribution is skewed like that of a square, so its margin is taken in
logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration, Strangeness
from model_store.onnx_file.draws import first_draws
from service.inference.ood import SCORES
from service.inference.uncertainty import Draws, pairs_of

# The most draws at which convergence is tested.
MOST_DRAWS = 1024
# Two-sided 99 % quantiles of Student's t by degrees of freedom; between two of them, that of the fewer holds.
STUDENT = {1: 63.657, 2: 9.925, 3: 5.841, 4: 4.604, 5: 4.032, 6: 3.707, 7: 3.499, 12: 3.055, 15: 2.947, 24: 2.797}
STUDENT |= {31: 2.744, 63: 2.656, 127: 2.615, 255: 2.595, 511: 2.586, 1023: 2.581}
EPSILON = 1e-12


@cache
def checkpoints(members: int) -> tuple[int, ...]:
    """Return the numbers of draws at which convergence is tested, after which each member had as many.

    4, 8, 16, … for a single network, and for two or four members; 6, 12, 24, … for three.
    """
    found = [first_draws(members)]
    while found[-1] < MOST_DRAWS:
        found.append(2 * found[-1])
    return tuple(found)


@dataclass(frozen=True)
class EarlyStopping:
    """The stopping rule of one level.

    `abstain_above` is the threshold of the predictive entropy in nats, `tolerance` the largest standard error of the
    top probability (`Predictive.standard_error`), `ood` the OOD score and its threshold, `members` the number through
    which draws take turns.
    """

    temperature: float
    abstain_above: float
    tolerance: float
    ood: Strangeness | None = None
    members: int = 1

    @classmethod
    def from_calibration(cls, calibration: Calibration, tolerance: float, members: int = 1) -> Self:
        """Build the rule of a level from its manifest's calibration."""
        ood = calibration.out_of_distribution
        return cls(calibration.temperature, calibration.abstain_above, tolerance, ood, members)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Return the numbers of draws at which convergence is tested."""
        return checkpoints(self.members)

    @property
    def first_draws(self) -> int:
        """Return the number of draws that every image gets, of which spreads are measured."""
        return self.checkpoints[0]

    def converged(self, draws: Draws) -> npt.NDArray[np.bool_]:
        """Test each of N images for convergence; the number of draws is one of `checkpoints`."""
        count, images, ood = len(draws), len(draws.mean), self.ood
        top_N2 = draws.mean.argsort(1)[:, -2:]
        top_SN2 = draws.p[:, np.arange(images)[:, None], top_N2]
        parts_SMN = np.empty((count, 2 if ood is None else 3, images))
        parts_SMN[:, 0] = top_SN2[..., 1] - top_SN2[..., 0]
        parts_SMN[:, 1] = draws.cross_entropies
        if ood is not None:
            parts_SMN[:, 2] = SCORES[ood.score](draws)
        mean_MN = np.add.reduce(parts_SMN, 0) / count
        deviation_SMN = parts_SMN - mean_MN
        paired_PMN, means = pairs_of(deviation_SMN, self.members), 1
        if 1 < self.members <= count // 4:
            deviation_SMN, paired_PMN = _around_members(deviation_SMN, paired_PMN, self.members)
            means = self.members
        error_MN, freedom = _standard_error(deviation_SMN, means), count - means
        reach_MN = paired_reach_MN = _student(freedom) * error_MN
        if paired_PMN is not None:
            error_MN, freedom = _standard_error(paired_PMN, means), len(paired_PMN) - means
            paired_reach_MN = _student(freedom) * error_MN
            reach_MN = np.minimum(reach_MN, paired_reach_MN)
        decided_N = np.abs(mean_MN[1] - self.abstain_above) > reach_MN[1]
        if ood is not None:
            margin_N, reach_N = mean_MN[2] - ood.above, reach_MN[2]
            if ood.score == "mutual_information":  # compare logarithms, whose reach is to first order
                positive_N = mean_MN[2] + EPSILON
                margin_N = np.log(positive_N / (max(ood.above, 0.0) + EPSILON))
                reach_N = paired_reach_MN[2] / positive_N
            decided_N = (margin_N > reach_N) | (decided_N & (margin_N < -reach_N))
        known_N = draws.standard_error is not None and draws.standard_error <= self.tolerance
        converged_N: npt.NDArray[np.bool_] = (mean_MN[0] > reach_MN[0]) & decided_N & known_N
        return converged_N


def _standard_error(deviation: npt.NDArray[np.floating], means: int) -> npt.NDArray[np.floating]:
    """Estimate the standard error of a mean of values [n, …] from their deviations from so many means of their own."""
    count = len(deviation)
    return np.asarray(np.sqrt(np.add.reduce(deviation * deviation, 0) / (count * (count - means))))


def _around_members(
    single: npt.NDArray[np.floating], paired: npt.NDArray[np.floating] | None, members: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating] | None]:
    """Subtract each member's mean from draws [S, …], and from the means of pairs."""
    parts = (None if values is None else values.reshape(-1, members, *values.shape[1:]) for values in (single, paired))
    own, own_paired = (None if part is None else part - part.mean(0) for part in parts)
    assert own is not None
    return own.reshape(single.shape), None if own_paired is None else own_paired.reshape(-1, *single.shape[1:])


@cache
def _student(freedom: int) -> float:
    return STUDENT[max(known for known in STUDENT if known <= freedom)]
