"""What is scored, and with what: written first, and what a run that goes on with an output must agree with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ScoringError
from service.scoring.source import Kind
from service.settings import Precision

# What may differ between two runs on one output.
FREE = {"source"}


class ScoringPlan(BaseModel):
    """All that the rows of an output depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    engine: str = Field(description="Version of Slimbayes.")
    source: str = Field(description="Where the input lay; its digest says what it was.")
    kind: Kind
    column: str | None = None
    id_column: str | None = None
    images: int
    digest: str
    shard_size: int
    model: str
    version: str
    level: str
    samples: int = Field(description="Most draws an image.")
    adaptive: bool = Field(description="Whether an image has only the draws that settle its answer.")
    alpha: float
    tolerance: float
    precision: Precision
    max_pixels: int

    @property
    def parts(self) -> int:
        """Files of the output."""
        return -(-self.images // self.shard_size)

    def to_json(self) -> bytes:
        """For a file."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def check_continues(self, before: ScoringPlan) -> None:
        """Raise ScoringError, naming what differs, unless this is to write the same rows as `before`."""
        own, other = (each.model_dump(exclude=FREE) for each in (self, before))
        differing = [name for name in own if own[name] != other[name]]
        if "digest" in differing:
            given = f"{before.source} as it was: {before.images:,} images; {self.source} has {self.images:,} now"
            raise ScoringError(
                f"the output is of another input ({given}, or other files): name another output for this one"
            )
        if differing:
            said = ", ".join(f"{name} {other[name]}, not {own[name]}" for name in differing)
            raise ScoringError(f"the output was begun with {said}: go on as it was begun, or name another output")


def read_plan(data: bytes) -> ScoringPlan:
    """The plan in a file; raise ScoringError where it is none that this version can go on with."""
    try:
        return ScoringPlan.model_validate_json(data)
    except ValidationError as error:
        raise ScoringError("the output has a _plan.json that this version cannot read: name another output") from error
