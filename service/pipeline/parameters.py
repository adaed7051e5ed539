"""What will be done for a request: which level answers it, with how many draws, and what overload took away."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PredictOptions(BaseModel):
    """What a request may ask for, whatever its protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: str | None = Field(
        None,
        description="A pruning level; nothing is the version's default level, auto the one that fulfils the wishes.",
    )
    samples: str = Field(
        "auto",
        description="Draws: a whole number from 1, or auto: until the answer is settled, at most the level's default.",
    )
    deadline_ms: float | None = Field(
        None, gt=0, le=600_000, description="Answer with the draws that there are by then."
    )
    min_accuracy: float | None = Field(None, ge=0, le=1, description="A wish for level=auto: accuracy on the test set.")
    max_latency_ms: float | None = Field(
        None, gt=0, description="A wish for level=auto: time of inference, as measured."
    )

    @property
    def deadline(self) -> float | None:
        """Seconds from now, None where there is none."""
        return None if self.deadline_ms is None else self.deadline_ms / 1000


class PredictQuery(PredictOptions):
    """What a request may ask for, in its query."""

    model: str | None = Field(None, description="Name of a model; may be left out where there is one.")
    version: str | None = Field(None, description="A version or an alias; by default production, else the newest.")
    alpha: float = Field(0.1, description="Error rate of the prediction set: one that the level is calibrated for.")
    top_k: int = Field(10, ge=1, le=1000, description="Classes to list, most probable first.")
    draws: bool = Field(False, description="List the probability of each class under each draw.")
