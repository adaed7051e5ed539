"""Describe a scoring run: its plan is written first, and a run that continues an output must have the same."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from service.errors import ScoringError
from service.scoring.source import Kind
from service.settings import Precision

# Fields that may differ between two runs on one output.
MAY_DIFFER = {"source"}


class ScoringPlan(BaseModel, frozen=True, extra="forbid"):
    """Everything that the rows of an output depend on."""

    schema_version: Literal[1] = 1
    engine: str = Field(description="Version of Slimbayes.")
    source: str = Field(description="Path or URL of the input; its digest identifies the content.")
    kind: Kind
    column: str | None = None
    id_column: str | None = None
    images: int
    digest: str
    shard_size: int
    model: str
    version: str
    level: str
    samples: int = Field(description="Maximum draws per image.")
    adaptive: bool = Field(description="Whether sampling may stop early.")
    alpha: float | None = Field(description="Error rate of prediction sets; null for none.")
    tolerance: float
    precision: Precision
    max_pixels: int

    @property
    def parts(self) -> int:
        """Return the number of output files."""
        return -(-self.images // self.shard_size)

    def to_json(self) -> bytes:
        """Serialize for the output."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def check_continues(self, before: ScoringPlan) -> None:
        """Raise ScoringError, naming what differs, unless this plan produces the same rows as `before`."""
        own, other = (each.model_dump(exclude=MAY_DIFFER) for each in (self, before))
        differing = [name for name in own if own[name] != other[name]]
        if "digest" in differing:
            given = f"{before.source} had {before.images:,} images; {self.source} now has {self.images:,}"
            raise ScoringError(f"the output belongs to another input ({given}, or other files): name another output")
        if differing:
            values = ", ".join(f"{name} {other[name]}, not {own[name]}" for name in differing)
            raise ScoringError(f"the output was begun with {values}: continue with the same, or name another output")


def read_plan(data: bytes) -> ScoringPlan:
    """Parse the plan of an output; raise ScoringError unless this version can continue with it."""
    try:
        return ScoringPlan.model_validate_json(data)
    except ValidationError as error:
        raise ScoringError("the output has a _plan.json that this version cannot read: name another output") from error
