"""Decide on predictions: rank classes, build conformal prediction sets, accept or abstain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.manifest import DEFAULT_ALPHA, Calibration, Level
from model_store.onnx_file.draws import first_draws
from service.errors import ParameterError
from service.inference.early_stopping import EarlyStopping
from service.inference.ood import ood_score
from service.inference.uncertainty import Draws, Predictive, parts
from service.types import Decision, FloatArray, Reason, StopReason

# Renders one protocol's part of each image's answer.
Render = Callable[[Predictive], Iterable[Any]]


class ClassesAnswered(NamedTuple):
    """An image's top class, and the classes of its prediction set as bits of a number, None without a quantile."""

    top: int
    set_bits: int | None


ClassesOf = Callable[[Predictive], Iterable[ClassesAnswered]]


class FirstDraws(NamedTuple):
    """Figures of an image's first draws, at most `first_draws`, whatever the number in the end; for drift."""

    confidence: float
    entropy: float
    mutual_information: float


class ImageResult(NamedTuple):
    """One image's decision and uncertainty, entropies in nats.

    `confidence` is the probability of the top class, `standard_error` as in `Predictive`. `content` holds the
    prediction as a protocol renders it. `classes` are there only where answers are remembered.
    """

    decision: Decision
    reason: Reason | None
    ood_score: float | None
    draws: int
    stop: StopReason
    confidence: float
    total: float
    aleatoric: float
    epistemic: float
    standard_error: float | None
    first: FirstDraws
    content: Any
    classes: ClassesAnswered | None = None


@dataclass(frozen=True)
class Postprocessor:
    """Summarise the draws of images, which take turns through `members`, decide, and render each.

    `early_stopping` chooses the number of draws, if any. `classes_of` gives the classes to remember of each image.
    """

    calibration: Calibration
    render: Render
    early_stopping: EarlyStopping | None = None
    members: int = 1
    classes_of: ClassesOf | None = None

    def __call__(self, logits_SNK: FloatArray, stop: StopReason, draws: Draws | None = None) -> list[ImageResult]:
        """Return the result of each image; `draws` is the summary of its logits, where there is one already."""
        draws = draws or Draws.from_logits(logits_SNK, self.calibration.temperature, self.members)
        first = None if self.early_stopping is None else self.early_stopping.first_draws
        summary = Predictive.from_draws(draws, first)
        error_N = summary.standard_error
        figures = (summary.mean.max(1), summary.total, summary.aleatoric, summary.epistemic)
        classes = repeat(None, len(summary.mean)) if self.classes_of is None else self.classes_of(summary)
        return [
            ImageResult(decision, reason, score, len(draws), stop, top, total, within, between, error, *others)
            for (decision, reason, score), top, total, within, between, error, *others in zip(
                decide(summary, self.calibration),
                *(each.tolist() for each in figures),
                [None] * len(summary.mean) if error_N is None else error_N.tolist(),
                _figures_of_first(draws),
                self.render(summary),
                classes,
                strict=True,
            )
        ]


def _figures_of_first(draws: Draws) -> Iterator[FirstDraws]:
    """Return the figures of each image's first draws."""
    count = first_draws(draws.members)
    block = draws if len(draws) <= count else draws.first(count)
    aleatoric_N, epistemic_N = parts(block)
    figures = (block.mean.max(1), aleatoric_N + epistemic_N, epistemic_N)
    return map(FirstDraws, *(each.tolist() for each in figures))


def ranking(summary: Predictive) -> npt.NDArray[np.intp]:
    """Rank the classes of each image [N, K], most probable first."""
    return (-summary.mean).argsort(1, kind="stable")


def conformal_sets(
    summary: Predictive, order_NK: npt.NDArray[np.intp], classes: Sequence[str], quantile: float | None
) -> Iterator[list[str] | None]:
    """Build the prediction set of each image, most probable class first; None without a quantile.

    `quantile` is that of 1 − p̄ of the true class on the calibration set. The set always holds the top class, which
    only adds to its coverage.
    """
    if quantile is None:
        yield from repeat(None, len(order_NK))
        return
    sizes = np.add.reduce(1 - summary.mean <= quantile, 1).tolist()
    for order, size in zip(order_NK.tolist(), sizes, strict=True):
        yield [classes[k] for k in order[: max(1, size)]]


def classes_answered(quantile: float | None, summary: Predictive) -> Iterator[ClassesAnswered]:
    """Return each image's top class and prediction set, as `conformal_sets` builds it."""
    top_N = ranking(summary)[:, 0].tolist()
    if quantile is None:
        yield from (ClassesAnswered(top, None) for top in top_N)
        return
    packed_NB = np.packbits(1 - summary.mean <= quantile, 1, bitorder="little")
    for top, packed_B in zip(top_N, packed_NB, strict=True):
        yield ClassesAnswered(top, int.from_bytes(packed_B.tobytes(), "little") | 1 << top)


def conformal_quantile(alpha: float | None, level: Level) -> float | None:
    """Return a level's conformal quantile at an error rate, by default at DEFAULT_ALPHA, or None if it lacks that.

    Raises ParameterError for an error rate that the level lacks: with those that it has, and what the others take.
    """
    calibration = level.calibration
    quantiles = {float(known): each for known, each in calibration.conformal_quantiles.items()}
    if alpha is None:
        return quantiles.get(DEFAULT_ALPHA)
    if alpha not in quantiles:
        known = ", ".join(calibration.conformal_quantiles) or "none"
        needed = calibration.missing_sets.get(str(alpha))
        if needed is None:
            raise ParameterError(f"alpha must be one that level {level.name} is calibrated for: {known}, got {alpha:g}")
        raise ParameterError(
            f"prediction sets at alpha {alpha:g} take {needed} calibration images, but level {level.name} has "
            f"{calibration.images or 'fewer'}: it is calibrated for {known}"
        )
    return quantiles[alpha]


def decide(summary: Predictive, calibration: Calibration) -> list[tuple[Decision, Reason | None, float | None]]:
    """Accept or abstain on each image, with the reason and the OOD score where the level has one.

    An energy above its threshold gives out_of_distribution whether the prediction is uncertain or not: entropies are of
    classes that the image may not belong to. Other scores derive from these classes themselves, so an image that is
    uncertain by its entropy is reported as uncertain.
    """
    rule = calibration.out_of_distribution
    uncertain_N = (~(summary.total <= calibration.abstain_above)).tolist()  # NaN counts as uncertain
    if rule is None:
        return [_decision(uncertain, False, None) for uncertain in uncertain_N]
    return [
        _decision(uncertain, score > rule.above and (rule.score == "energy" or not uncertain), score)
        for uncertain, score in zip(uncertain_N, ood_score(summary.draws, rule.score).tolist(), strict=True)
    ]


def _decision(uncertain: bool, ood: bool, score: float | None) -> tuple[Decision, Reason | None, float | None]:
    if ood:
        return "abstain", "out_of_distribution", score
    return ("abstain", "uncertain", score) if uncertain else ("accept", None, score)
