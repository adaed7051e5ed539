"""Describe what a prediction request may ask for, whatever its protocol."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from model_store.manifest import DEFAULT_ALPHA
from service.errors import ParameterError

# Plain decimal numbers: Python also reads signs, spaces, underscores, digits of other scripts, nan and inf.
NUMBER = re.compile(r"-?[0-9]{0,20}(\.[0-9]{1,40}|[0-9])([eE][+-]?[0-9]{1,3})?")


def _plain(value: object) -> object:
    """Refuse what Python would read as a number, and most other languages would not."""
    if isinstance(value, bool) or (isinstance(value, str) and NUMBER.fullmatch(value) is None):
        raise ValueError("expected a plain number such as 16 or 0.5")
    return value


PLAIN = BeforeValidator(_plain)
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False), PLAIN]
Deadline = Annotated[float, Field(gt=0, le=600_000, allow_inf_nan=False), PLAIN]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), PLAIN]


class PredictOptions(BaseModel, extra="forbid", frozen=True):
    """Options of a request that both protocols have."""

    level: str | None = Field(
        None,
        description="A pruning level; by default the version's own. auto selects by min_accuracy and max_latency_ms.",
    )
    samples: str = Field(
        "auto", description="Draws: a whole number from 1, or auto: early stopping, at most the level's default number."
    )
    deadline_ms: Deadline | None = Field(None, description="Answer with the draws computed by then, in milliseconds.")
    min_accuracy: Fraction | None = Field(None, description="For level=auto: least accuracy on the test set.")
    max_latency_ms: Milliseconds | None = Field(
        None, description="For level=auto: longest inference time, as measured, in milliseconds."
    )

    @property
    def deadline_s(self) -> float | None:
        """Return the deadline in seconds from now, None without one."""
        return None if self.deadline_ms is None else self.deadline_ms / 1000

    def fixed_samples(self, most: int) -> int | None:
        """Return the requested number of draws, None for auto; raise ParameterError unless it is from 1 to `most`."""
        return None if self.samples == "auto" else parse_samples(self.samples, most)


class PredictQuery(PredictOptions):
    """Query parameters of `POST /predict`."""

    model: str | None = Field(None, description="Name of a model; may be omitted if there is only one.")
    version: str | None = Field(None, description="A version or an alias; by default production, else the newest.")
    alpha: Annotated[float | None, Field(allow_inf_nan=False), PLAIN] = Field(
        None,
        description="Error rate of the prediction set: one that the level is calibrated for; by default "
        f"{DEFAULT_ALPHA}, if it is.",
    )
    top_k: Annotated[int, Field(ge=1, le=1000), PLAIN] = Field(10, description="Classes to list, most probable first.")
    draws: bool = Field(False, description="List the probability of each class under each draw.")


def parse_samples(text: str, most: int) -> int:
    """Parse a number of draws; raise ParameterError unless it is from 1 to `most`."""
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not 1 <= int(text) <= most:
        raise ParameterError(f"samples must be a whole number from 1 to {most}, or auto, got {text[:20]!r}")
    return int(text)
