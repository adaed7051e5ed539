"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from model_store.manifest import Calibration, Score
from service.artifact import FloatArray
from service.job import Stop
from service.strangeness import strangeness
from service.uncertainty import Predictive, predictive

Decision = Literal["accept", "abstain"]
Reason = Literal["uncertain", "out_of_distribution"]


class Verdict(NamedTuple):
    """What was decided on one image, in whatever protocol, and how sure that is; entropies in nats."""

    decision: Decision
    reason: Reason | None
    draws: int
    confidence: float
    entropy: float
    mutual_information: float


# Of a single draw's probability: it is there to be seen.
DECIMALS = 4


class ClassProbability(BaseModel):
    """One class: mean over draws, standard deviation and 5 % and 95 % quantiles over draws; and the draws, if asked."""

    label: str
    probability: float
    std: float
    low: float
    high: float
    draws: list[float] | None = Field(
        None,
        exclude_if=lambda draws: draws is None,
        description="The probability under each draw, in their order; only where the request asks for it.",
    )


class Uncertainty(BaseModel):
    """Predictive entropy and its two parts, in nats: total = aleatoric + epistemic."""

    total: float = Field(description="Entropy of the mean prediction.")
    aleatoric: float = Field(description="Mean entropy of the draws: what no more training would remove.")
    epistemic: float = Field(description="Mutual information: how much the draws disagree.")


class StrangenessScore(BaseModel):
    """How unlike the pictures that the level learned from, by the score that tells strangers best there."""

    score: Score
    value: float = Field(description="Higher is stranger; an energy is usually below zero.")
    above: float = Field(description="The level's threshold: above it an image is called out of distribution.")


class Sampling(BaseModel):
    """Draws used, the standard error of the top probability (null for a single draw), and why drawing stopped.

    `samples`: as many as asked for; `settled`: more would change neither class nor decision; `deadline`: out of time.
    """

    draws: int
    standard_error: float | None
    stop: Stop


class Prediction(BaseModel):
    """The answer for one image."""

    label: str
    probability: float
    probabilities: list[ClassProbability] = Field(description="Most probable first.")
    uncertainty: Uncertainty
    prediction_set: list[str] = Field(
        description="Holds the true class with probability 1 - alpha or more, at the default samples."
    )
    decision: Decision
    reason: Reason | None = Field(
        None,
        description="Why it abstains: uncertain where its entropy is above the level's threshold, out_of_distribution"
        " where its strangeness is above its own. Where both are, an energy wins, and any other score does not.",
    )
    strangeness: StrangenessScore | None = Field(None, description="Null where the level was given no such score.")
    monte_carlo: Sampling


class Timing(BaseModel):
    """Milliseconds spent on each part of a request."""

    decode: float
    queue: float
    inference: float


class Degraded(BaseModel):
    """What the service took away from a request because it was overloaded."""

    samples: int = Field(description="Most draws of an image.")
    instead_of: str | None = Field(description="The level that would have answered, where another one did.")


class Answer(BaseModel):
    """The answer to one request: one prediction an image, in their order."""

    request_id: str
    model: str
    version: str
    level: str
    level_reason: str | None = Field(None, description="Why it is this level, where the request had a wish.")
    degraded: Degraded | None = Field(None, description="What was done less under overload.")
    predictions: list[Prediction]
    timing_ms: Timing


class Decided(NamedTuple):
    """Whether to act on an answer, and if not, why; and how strange the image is, where the level can tell."""

    decision: Decision
    reason: Reason | None
    strangeness: float | None


class Predicted(NamedTuple):
    """The answer for one image, as `Prediction` describes it, and what was decided."""

    document: dict[str, Any]
    verdict: Verdict


@dataclass(frozen=True)
class Answering:
    """Makes answers of draws, for one request.

    `quantile` is as in `conformal_sets`; `draws` adds each draw to the classes that are listed.
    """

    classes: tuple[str, ...]
    calibration: Calibration
    quantile: float
    top_k: int
    draws: bool = False

    def __call__(self, logits_SNK: FloatArray, stop: Stop) -> list[Predicted]:
        """What the draws of some images say."""
        summary, draws = predictive(logits_SNK, self.calibration.temperature), len(logits_SNK)
        order_NK = ranking(summary)
        error_N = summary.standard_error
        errors = [None] * len(order_NK) if error_N is None else error_N.tolist()
        entropies = (each.tolist() for each in (summary.total, summary.aleatoric, summary.epistemic))
        return [
            self._predicted(shown, names, own, decided, {"draws": draws, "standard_error": error, "stop": stop})
            for shown, names, own, decided, error in zip(
                self._classes(summary, order_NK),
                conformal_sets(summary, order_NK, self.classes, self.quantile),
                zip(*entropies, strict=True),
                decide(summary, self.calibration),
                errors,
                strict=True,
            )
        ]

    def _predicted(
        self,
        shown: list[dict[str, Any]],
        names: list[str],
        entropies: tuple[float, float, float],
        decided: Decided,
        sampling: dict[str, Any],
    ) -> Predicted:
        total, aleatoric, epistemic = entropies
        decision, reason, _ = decided
        label, probability = shown[0]["label"], shown[0]["probability"]
        document = {
            "label": label,
            "probability": probability,
            "probabilities": shown,
            "uncertainty": {"total": total, "aleatoric": aleatoric, "epistemic": epistemic},
            "prediction_set": names,
            "decision": decision,
            "reason": reason,
            "strangeness": self._strangeness(decided),
            "monte_carlo": sampling,
        }
        return Predicted(document, Verdict(decision, reason, sampling["draws"], probability, total, epistemic))

    def _classes(self, summary: Predictive, order_NK: npt.NDArray[np.intp]) -> Iterator[list[dict[str, Any]]]:
        """Of each image the classes that are listed."""
        top_NK = order_NK[:, : self.top_k]
        images_N1 = np.arange(len(top_NK))[:, None]
        figures = summary.mean[images_N1, top_NK].tolist(), *summary.spread[:, images_N1, top_NK].tolist()
        for number, (ks, *rows) in enumerate(zip(top_NK.tolist(), *figures, strict=True)):
            shown = [
                {"label": self.classes[k], "probability": mean, "std": std, "low": low, "high": high}
                for k, mean, std, low, high in zip(ks, *rows, strict=True)
            ]
            if self.draws:
                for one, each_S in zip(shown, summary.draws.p[:, number, ks].T.round(DECIMALS).tolist(), strict=True):
                    one["draws"] = each_S
            yield shown

    def _strangeness(self, decided: Decided) -> dict[str, Any] | None:
        rule = self.calibration.out_of_distribution
        return None if rule is None else {"score": rule.score, "value": decided.strangeness, "above": rule.above}


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
