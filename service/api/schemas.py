"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from model_store.manifest import Manifest, Metrics, Score
from service.types import Decision, Reason, StopReason


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
    stop: StopReason


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


SortKey = Literal["sparsity", "bytes", "parameters", "multiply_adds", "accuracy", "nll", "ece", "latency"]


class LatencyListing(BaseModel):
    """Milliseconds of inference a request, over the latest requests that this process answered."""

    p50: float | None
    p95: float | None
    count: int


class Arrangement(BaseModel):
    """How this process found it fastest to compute a level."""

    draws_per_graph: int = Field(description="Draws that run side by side in one graph.")
    eight_bits: bool = Field(description="Whether convolutions are computed in eight bits.")
    shared_threads: int = Field(description="Threads for what all draws share, where nothing else is computed.")


class LevelListing(BaseModel):
    """One level; `pareto` where no other level is both at least as accurate and at least as cheap.

    `arrangement` is null until the level's networks are built.
    """

    name: str
    sparsity: float
    bytes: int
    parameters: int
    multiply_adds: int
    metrics: Metrics
    latency_ms: LatencyListing
    arrangement: Arrangement | None
    pareto: bool


class VersionListing(BaseModel):
    """One version; where `ready` is false, `refusal` says why it is not served."""

    version: str
    aliases: list[str]
    ready: bool
    refusal: str | None = None
    created: datetime | None = None
    default_level: str | None = None
    levels: list[LevelListing]


class ModelListing(BaseModel):
    """One model, newest version first."""

    name: str
    versions: list[VersionListing]


class Listing(BaseModel):
    """All models."""

    models: list[ModelListing] = Field(description="Sorted by name.")


class Load(BaseModel):
    """How much waits, and how much is answered."""

    queued: int = Field(description="Work that is waited for, in images x draws.")
    capacity: int = Field(description="Most work that may wait, in images x draws.")
    step: int = Field(description="How many steps the latest of what waits is degraded; 0 is not at all.")
    answered_per_second: float = Field(description="Images answered a second, over the last ten.")


class DriftStatus(BaseModel):
    """Population stability indices of the latest predictions; null while there are too few of them."""

    count: int = Field(description="Predictions that are compared.")
    confidence: float | None
    entropy: float | None
    mutual_information: float | None


class LevelStatus(BaseModel):
    """One level that has answered since the service started; counts are of images."""

    model: str
    version: str
    level: str
    answered: int
    abstained: int = Field(description="How many of them were abstained on.")
    drift: DriftStatus


class Status(BaseModel):
    """The service as it is now."""

    load: Load
    store: Literal["here", "away"] = Field(description="Whether the store answered when it was looked at last.")
    levels: list[LevelStatus]


class ModelDetail(ModelListing):
    """One model, with the manifest of the version that a request without one means."""

    manifest: Manifest


class VersionDetail(BaseModel):
    """One version, with the whole manifest that was published with it."""

    model: str
    listing: VersionListing
    manifest: Manifest


class Promotion(BaseModel):
    """What an alias is to name."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="A version, or an alias that names one.", examples=["20261123-075100-3f9ca1"])


class Promoted(BaseModel):
    """What an alias names now."""

    model: str
    alias: str
    version: str


class Health(BaseModel):
    """One word on how the service is."""

    status: Literal["alive", "ready", "starting", "draining"]


class Readiness(Health):
    """How the service is, and where it has its models from."""

    store: Literal["here", "away"] = Field(
        description="Whether the store answered when it was looked at last; without it what is here is served on."
    )
