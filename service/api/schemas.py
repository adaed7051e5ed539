"""Define the JSON documents of the HTTP API; pydantic only, so that clients stay light."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from model_store.manifest import Manifest, MeanNetwork, Metrics, Score, SetKind
from service.api.feedback_schemas import LiveStatus
from service.types import Decision, Reason, StopReason, StoreState

# Draws that figures are of.
BLOCK = "with samples=auto of the first 4, or more until each member has as many, else of all"
INTERVAL = "low and high hold 90 % of all draws on average, null from fewer than 20"


class ClassProbability(BaseModel):
    """Probability of one class: mean, standard deviation, 5 % and 95 % quantile over draws; the draws on request."""

    label: str
    probability: float
    std: float = Field(description=f"Standard deviation over draws, {BLOCK}.")
    low: float | None = Field(description=f"5 % quantile over draws; {INTERVAL}.")
    high: float | None = Field(description=f"95 % quantile over draws; {INTERVAL}.")
    draws: list[float] | None = Field(
        None,
        exclude_if=lambda draws: draws is None,
        description="Probability under each draw, in order; only if the request asks for it.",
    )


class Uncertainty(BaseModel):
    """Predictive entropy and its two parts, in nats: total = aleatoric + epistemic."""

    total: float = Field(description="Entropy of the mean prediction.")
    aleatoric: float = Field(description="Within the draws: the entropy that each has by itself, on average.")
    epistemic: float = Field(
        description="Between the draws: how much they disagree, the mutual information of label and weights,"
        f" {BLOCK}. A lower bound where few layers are random."
    )


class OODScore(BaseModel):
    """Out-of-distribution score of an image, by the score that separates OOD images best at this level."""

    score: Score
    value: float = Field(description="Higher means less like the training data; an energy is usually negative.")
    threshold: float = Field(description="The level's threshold, above which an image counts as out of distribution.")


class Sampling(BaseModel):
    """Draws used, standard error of the top probability, and why sampling stopped.

    `samples`: as many as requested; `converged`: class and decision are stable; `deadline`: out of time.
    """

    draws: int
    standard_error: float | None = Field(
        description="From means of antithetic pairs of draws, and raised for their number (Student's t): the mean of"
        " very many draws is within 1.96 of it in 95 % of cases, in fewer near 0 and 1. Null for a single draw."
    )
    stop: StopReason


class Prediction(BaseModel):
    """Prediction for one image."""

    label: str
    probability: float
    probabilities: list[ClassProbability] = Field(description="Most probable first.")
    uncertainty: Uncertainty
    prediction_set: list[str] | None = Field(
        description="Calibrated to hold the true class of 1 - alpha of images, at the default samples. The share of"
        " test images for which it does is in the manifest, as coverage. Null if no alpha is asked for and the level"
        " has too few calibration images for the default."
    )
    decision: Decision
    reason: Reason | None = Field(
        None,
        description="Why it abstains: uncertain if the entropy is above the level's threshold, out_of_distribution if"
        " the OOD score is above its own. If both are, an energy takes precedence, and any other score does not.",
    )
    ood: OODScore | None = Field(None, description="Null if the level has no such score.")
    monte_carlo: Sampling


class Timing(BaseModel):
    """Milliseconds spent on each part of a request."""

    decode: float
    queue: float
    inference: float


class Degraded(BaseModel):
    """Degradation of a request under overload."""

    samples: int = Field(description="Most draws of an image.")
    instead_of: str | None = Field(description="The level that would have answered, if another one did.")


class Answer(BaseModel):
    """Response to one request: a prediction for each image, in order."""

    request_id: str
    model: str
    version: str
    level: str
    level_reason: str | None = Field(None, description="Why this level was selected, with level=auto.")
    degraded: Degraded | None = Field(None, description="Degradation under overload, if any.")
    predictions: list[Prediction]
    timing_ms: Timing


SortKey = Literal["sparsity", "bytes", "parameters", "multiply_adds", "accuracy", "nll", "ece", "latency"]


class LatencyListing(BaseModel):
    """Inference time of the latest requests to this process, in milliseconds."""

    p50: float | None
    p95: float | None
    count: int


class Arrangement(BaseModel):
    """Fastest configuration of a level on this machine, as autotuned."""

    draws_per_graph: int = Field(description="Draws computed side by side in one graph.")
    eight_bits: bool = Field(description="Whether convolutions are computed in eight bits.")
    shared_threads: int = Field(description="Threads for what all draws share, when nothing else is computed.")


class LevelListing(BaseModel):
    """One level; `pareto` if no other level is both at least as accurate and at least as cheap.

    `arrangement` is null until the level's networks are built; `refusal` says why they cannot be.
    """

    name: str
    sparsity: float
    bytes: int
    parameters: int
    multiply_adds: int
    members: int = Field(description="Networks of a mixture, through which draws take turns; 1 if it is none.")
    draws: int = Field(description="Default number of draws; as many as members is one pass of each mean network.")
    metrics: Metrics = Field(description="On the test set; abstained is the share that the default thresholds reject.")
    mean_network: MeanNetwork | None = Field(
        description="One pass of the mean network at a temperature of its own, and what draws gain over it in NLL, with"
        " the standard error of the paired difference. Null if unknown, or if no weight is random."
    )
    accuracy_interval: tuple[float, float] | None = Field(
        description="95 % interval of the accuracy, by the number of test images (Wilson); null if that is unknown."
    )
    calibration_images: int | None = Field(description="Number of calibration images; null if unknown.")
    missing_sets: dict[str, int] = Field(
        description="Error rates without prediction sets, and the calibration images that each takes."
    )
    default_alpha: float | None = Field(
        description="Error rate of prediction sets where a request names none; null if it then gets no set."
    )
    coverage: dict[SetKind, dict[str, float]] = Field(
        description="Share of test images whose prediction set holds the true class, by kind of set and error rate."
    )
    latency_ms: LatencyListing
    arrangement: Arrangement | None
    refusal: str | None = None
    pareto: bool


class VersionListing(BaseModel):
    """One version; if `ready` is false, `refusal` says why it is not served."""

    version: str
    aliases: list[str]
    ready: bool
    refusal: str | None = None
    created: datetime | None = None
    default_level: str | None = None
    levels: list[LevelListing]


class ModelListing(BaseModel):
    """One model, newest version first; `refusal` says why it could not be read at all."""

    name: str
    refusal: str | None = None
    versions: list[VersionListing]


class Listing(BaseModel):
    """All models."""

    models: list[ModelListing] = Field(description="Sorted by name.")


class Load(BaseModel):
    """Load of the service."""

    queued: int = Field(description="Waiting work, in images x draws.")
    capacity: int = Field(description="Most work that may wait, in images x draws.")
    step: int = Field(description="Degradation step of the latest waiting request; 0 is none.")
    answered_per_second: float = Field(description="Images answered per second, over the last ten seconds.")


class DriftStatus(BaseModel):
    """Population stability indices of the latest predictions; null while there are too few."""

    count: int = Field(description="Predictions compared.")
    confidence: float | None
    entropy: float | None
    mutual_information: float | None


class LevelStatus(BaseModel):
    """One level that has answered since the service started; counts are images."""

    model: str
    version: str
    level: str
    answered: int
    abstained: int = Field(description="Images abstained on.")
    drift: DriftStatus
    live: LiveStatus | None = Field(None, description="Null without labels; see `/feedback`.")


class Status(BaseModel):
    """Status of the service."""

    load: Load
    store: StoreState = Field(description="Whether the store could be read at the last attempt.")
    problems: dict[str, str] = Field(
        description="Models that do not answer, or not with the version that production points to, and why."
    )
    held_back: dict[str, str] = Field(
        description="Models whose newest version does not answer by default, since its classes are others than those"
        " that answered before, and how to switch."
    )
    levels: list[LevelStatus]


class ModelDetail(ModelListing):
    """One model, with the manifest of its default version."""

    manifest: Manifest


class VersionDetail(BaseModel):
    """One version with its manifest."""

    model: str
    listing: VersionListing
    manifest: Manifest


class Promotion(BaseModel, extra="forbid"):
    """Target of an alias."""

    version: str = Field(description="A version, or another alias.", examples=["20261123-075100-3f9ca1"])


class Promoted(BaseModel):
    """New target of an alias."""

    model: str
    alias: str
    version: str


class Health(BaseModel):
    """State of the process."""

    status: Literal["alive", "ready", "starting", "draining"]


class Readiness(Health):
    """State of the process and of its store."""

    store: StoreState = Field(
        description="Whether the store could be read at the last attempt; loaded models are served without it."
    )
    unready: list[str] = Field(
        description="Models that do not answer, or not with the version that production points to; `/status` says why."
    )
