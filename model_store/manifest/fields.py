"""Define types of fields, and records that know which schema introduced each of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from model_store.names import ALIAS_OR_LEVEL, MODEL_NAME, VERSION_NAME

ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME)]
LevelName = Annotated[str, StringConstraints(pattern=ALIAS_OR_LEVEL)]
VersionName = Annotated[str, StringConstraints(pattern=VERSION_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
SetKind = Literal["lac", "aps"]


@dataclass(frozen=True)
class Since:
    """Mark the schema that introduced a field; earlier manifests lack it, and reading them fills in its default."""

    schema: int


class Strict(BaseModel):
    """Frozen model in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def since(cls, name: str) -> int:
        """Return the schema that introduced a field."""
        return max((each.schema for each in cls.model_fields[name].metadata if isinstance(each, Since)), default=1)


def records(record: Strict, where: str = "") -> Iterator[tuple[str, Strict]]:
    """Yield a record and all records within it, each with its dotted path."""
    yield where, record
    for name, value in record:
        for place, each in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
            if isinstance(each, Strict):
                yield from records(each, f"{where}{name}." if place is None else f"{where}{name}.{place}.")


def newer_fields(record: Strict, schema: int) -> dict[str, Any]:
    """Return the fields that are newer than a schema, as pydantic's `exclude` takes them."""
    excluded: dict[str, Any] = {}
    for name, value in record:
        if record.since(name) > schema:
            excluded[name] = True
        elif isinstance(value, Strict):
            excluded[name] = newer_fields(value, schema)
        elif isinstance(value, tuple):
            excluded[name] = {n: newer_fields(each, schema) for n, each in enumerate(value) if isinstance(each, Strict)}
    return {name: within for name, within in excluded.items() if within}
