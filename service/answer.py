"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from math import isfinite
from typing import Literal

from pydantic import BaseModel, Field

from model_store.manifest import Calibration
from service.uncertainty import Predictive


class ClassProbability(BaseModel):
    """One class: mean over draws, standard deviation and 5 % and 95 % quantiles over draws."""

    label: str
    probability: float
    std: float
    low: float
    high: float


class Uncertainty(BaseModel):
    """Predictive entropy and its two parts, in nats: total = aleatoric + epistemic."""

    total: float = Field(description="Entropy of the mean prediction.")
    aleatoric: float = Field(description="Mean entropy of the draws: what no more training would remove.")
    epistemic: float = Field(description="Mutual information: how much the draws disagree.")


class Sampling(BaseModel):
    """Draws used, the standard error of the top probability (null for a single draw), and why drawing stopped."""

    draws: int
    standard_error: float | None
    stop: Literal["samples"]


class Prediction(BaseModel):
    """The answer for one image."""

    label: str
    probability: float
    probabilities: list[ClassProbability] = Field(description="Most probable first.")
    uncertainty: Uncertainty
    prediction_set: list[str] = Field(
        description="Holds the true class with probability 1 - alpha or more, at the default samples."
    )
    decision: Literal["accept", "abstain"]
    reason: Literal["uncertain"] | None = Field(None, description="Why it abstains.")
    monte_carlo: Sampling


class Timing(BaseModel):
    """Milliseconds spent on each part of a request."""

    decode: float
    queue: float
    inference: float


class Answer(BaseModel):
    """The answer to one request: one prediction an image, in their order."""

    request_id: str
    model: str
    version: str
    level: str
    predictions: list[Prediction]
    timing_ms: Timing


def predictions(
    summary: Predictive, classes: tuple[str, ...], calibration: Calibration, *, draws: int, quantile: float, top_k: int
) -> list[Prediction]:
    """One prediction an image.

    `quantile` is that of 1 − p̄ of the true class on the calibration set; the set always has the top class, which
    only adds to its coverage.
    """
    return [
        _prediction(summary, image, classes, calibration, draws, quantile, top_k) for image in range(len(summary.mean))
    ]


def _prediction(
    summary: Predictive,
    image: int,
    classes: tuple[str, ...],
    calibration: Calibration,
    draws: int,
    quantile: float,
    top_k: int,
) -> Prediction:
    mean = summary.mean[image]
    order = (-mean).argsort(kind="stable").tolist()
    total = float(summary.total[image])
    error = float(summary.standard_error[image])
    sure = total <= calibration.abstain_above
    return Prediction(
        label=classes[order[0]],
        probability=mean[order[0]],
        probabilities=[
            ClassProbability(
                label=classes[k],
                probability=mean[k],
                std=summary.std[image, k],
                low=summary.low[image, k],
                high=summary.high[image, k],
            )
            for k in order[:top_k]
        ],
        uncertainty=Uncertainty(
            total=total, aleatoric=float(summary.aleatoric[image]), epistemic=float(summary.epistemic[image])
        ),
        prediction_set=[classes[k] for rank, k in enumerate(order) if rank == 0 or 1 - mean[k] <= quantile],
        decision="accept" if sure else "abstain",
        reason=None if sure else "uncertain",
        monte_carlo=Sampling(draws=draws, standard_error=error if isfinite(error) else None, stop="samples"),
    )
