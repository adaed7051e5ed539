"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration
from service.inference.ood import strangeness
from service.inference.uncertainty import Predictive
from service.types import Decision, Reason


class Verdict(NamedTuple):
    """What was decided on one image, in whatever protocol, and how sure that is; entropies in nats."""

    decision: Decision
    reason: Reason | None
    draws: int
    confidence: float
    entropy: float
    mutual_information: float


class Decided(NamedTuple):
    """Whether to act on an answer, and if not, why; and how strange the image is, where the level can tell."""

    decision: Decision
    reason: Reason | None
    strangeness: float | None


def ranking(summary: Predictive) -> npt.NDArray[np.intp]:
    """The classes of each image [N, K], most probable first."""
    return (-summary.mean).argsort(1, kind="stable")


def conformal_sets(
    summary: Predictive, order_NK: npt.NDArray[np.intp], classes: Sequence[str], quantile: float
) -> Iterator[list[str]]:
    """The prediction set of each image, most probable first.

    `quantile` is that of 1 − p̄ of the true class on the calibration set; the set always has the top class, which
    only adds to its coverage.
    """
    sizes = np.add.reduce(1 - summary.mean <= quantile, 1).tolist()
    for order, size in zip(order_NK.tolist(), sizes, strict=True):
        yield [classes[k] for k in order[: max(1, size)]]


def decide(summary: Predictive, calibration: Calibration) -> list[Decided]:
    """What to do with answers.

    What is out of distribution by its energy is called so, uncertain or not: entropies are of classes that it may not
    belong to. Other scores are themselves of these classes, so that there what is uncertain is called uncertain.
    """
    rule = calibration.out_of_distribution
    uncertain_N = (~(summary.total <= calibration.abstain_above)).tolist()  # as is what is not a number
    if rule is None:
        return [_decided(uncertain, False, None) for uncertain in uncertain_N]
    return [
        _decided(uncertain, value > rule.above and (rule.score == "energy" or not uncertain), value)
        for uncertain, value in zip(uncertain_N, strangeness(summary.draws, rule.score).tolist(), strict=True)
    ]


def _decided(uncertain: bool, strange: bool, value: float | None) -> Decided:
    if strange:
        return Decided("abstain", "out_of_distribution", value)
    return Decided("abstain", "uncertain", value) if uncertain else Decided("accept", None, value)
