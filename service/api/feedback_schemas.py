"""Define the JSON documents of labels and of live quality; pydantic only, so that clients stay light."""

from __future__ import annotations

from pydantic import BaseModel, Field, StrictInt


class Feedback(BaseModel, extra="forbid"):
    """The true label of one image of an answered request."""

    request_id: str = Field(
        min_length=1,
        max_length=256,
        description="The `request_id` of the answer: the client's own X-Request-ID, if it sent one; for the Open"
        " Inference Protocol the request's `id`, if it had one, else the answer's X-Request-ID.",
    )
    image: StrictInt = Field(0, ge=0, description="Index of the image in its request.")
    label: str = Field(min_length=1, max_length=1024, description="The true class, by its name.")


class Counted(BaseModel):
    """The label was counted."""

    request_id: str
    image: int


class LiveFigure(BaseModel):
    """A figure of the latest labelled images, with the ends of its 95 % interval and their number."""

    value: float
    low: float
    high: float
    images: int


class LiveCoverage(LiveFigure):
    """Share of prediction sets that hold the label."""

    p_value: float = Field(description="How probable so few are by chance, where the level is calibrated for them.")
    below: bool = Field(description="Whether there are fewer than 1 - alpha beyond chance: a p-value under 0.001.")


class LiveStatus(BaseModel):
    """Quality by labels sent to `/feedback`, of the latest 1,000; each figure is null under 20 labels."""

    labels: int = Field(description="Labels since the service started.")
    accuracy: LiveFigure | None
    accepted_accuracy: LiveFigure | None = Field(description="Accuracy among accepted images.")
    ece: LiveFigure | None = Field(description="Expected calibration error of the top class, in 15 bins.")
    coverage: dict[str, LiveCoverage] = Field(description="By error rate of the sets that were asked for.")
