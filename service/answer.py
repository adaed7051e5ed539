"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from model_store.manifest import Calibration, Score, Strangeness
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

    @property
    def verdict(self) -> Verdict:
        """What was decided, and how sure that is."""
        uncertainty, draws = self.uncertainty, self.monte_carlo.draws
        return Verdict(self.decision, self.reason, draws, self.probability, uncertainty.total, uncertainty.epistemic)


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


def prediction(
    logits_SK: FloatArray,
    classes: tuple[str, ...],
    calibration: Calibration,
    stop: Stop,
    *,
    quantile: float,
    top_k: int,
    draws: bool = False,
) -> Prediction:
    """What the draws of one image say.

    `quantile` is that of 1 − p̄ of the true class on the calibration set; the set always has the top class, which
    only adds to its coverage. `draws` adds each draw to the classes that are listed.
    """
    summary = predictive(logits_SK, calibration.temperature)
    mean = summary.mean.tolist()
    order = sorted(range(len(mean)), key=lambda k: -mean[k])
    shown = [
        ClassProbability(label=classes[k], probability=mean[k], std=std, low=low, high=high)
        for k, std, low, high in zip(order, *(each[order].tolist() for each in summary.spread), strict=True)
    ][:top_k]
    if draws:
        for one, each_S in zip(shown, summary.draws.T[order[:top_k]].round(DECIMALS).tolist(), strict=True):
            one.draws = each_S
    decided = decide(summary, calibration)
    return Prediction(
        label=classes[order[0]],
        probability=mean[order[0]],
        probabilities=shown,
        uncertainty=Uncertainty(total=summary.total, aleatoric=summary.aleatoric, epistemic=summary.epistemic),
        prediction_set=[classes[k] for rank, k in enumerate(order) if rank == 0 or 1 - mean[k] <= quantile],
        decision=decided.decision,
        reason=decided.reason,
        strangeness=decided.strangeness,
        monte_carlo=Sampling(draws=len(logits_SK), standard_error=summary.standard_error, stop=stop),
    )


class Decided(NamedTuple):
    """Whether to act on an answer, and if not, why; and how strange the image is, where the level can tell."""

    decision: Decision
    reason: Reason | None
    strangeness: StrangenessScore | None


def decide(summary: Predictive, calibration: Calibration) -> Decided:
    """What to do with an answer.

    What is out of distribution by its energy is called so, uncertain or not: entropies are of classes that it may not
    belong to. Other scores are themselves of these classes, so that there what is uncertain is called uncertain.
    """
    strange = _strangeness(summary, calibration.out_of_distribution)
    uncertain = not summary.total <= calibration.abstain_above  # as is what is not a number
    if strange is not None and strange.value > strange.above and (strange.score == "energy" or not uncertain):
        return Decided("abstain", "out_of_distribution", strange)
    return Decided("abstain", "uncertain", strange) if uncertain else Decided("accept", None, strange)


def _strangeness(summary: Predictive, rule: Strangeness | None) -> StrangenessScore | None:
    if rule is None:
        return None
    return StrangenessScore(score=rule.score, value=strangeness(summary, rule.score), above=rule.above)
