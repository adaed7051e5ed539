"""Define the whole document: one version of one model, its training and its levels."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, FailFast, Field, field_validator, model_validator

from model_store.manifest.calibration import Recalibration
from model_store.manifest.fields import (
    Count,
    Fraction,
    LevelName,
    ModelName,
    Positive,
    Since,
    Strict,
    VersionName,
    newer_fields,
    records,
)
from model_store.manifest.level import Level

SCHEMA_VERSION: Final = 4


class InputShape(Strict):
    """Shape of one image: pixels as decoded, uint8 [height, width, channels]."""

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]
    resize: Literal["center-crop"] = "center-crop"


# Share of IVON's initial Hessian at the end above which scales are those that training began with.
MAX_HESSIAN_LEFT = 0.1


class Training(Strict):
    """Origin of the posterior.

    `hessian_left` is the share of IVON's initial Hessian that is left at the end, in the median of the Hessian with the
    prior's part.
    """

    architecture: str
    estimator: str
    dataset: str
    epochs: Count
    seed: int
    world_size: Positive
    hyperparameters: dict[str, Any]
    code_version: str
    hessian_left: Annotated[Fraction | None, Since(4)] = None

    @field_validator("hyperparameters")
    @classmethod
    def _is_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(values, allow_nan=False)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return values


class Manifest(Strict):
    """One version of one model; `recalibration` is None where its levels were calibrated when they were pruned."""

    schema_version: Literal[1, 2, 3, 4] = SCHEMA_VERSION
    model: ModelName
    version: VersionName
    created: AwareDatetime
    task: Literal["image-classification"] = "image-classification"
    classes: Annotated[tuple[str, ...], Field(min_length=2), FailFast()]
    input: InputShape
    training: Training
    default_level: LevelName
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=100), FailFast()]
    recalibration: Annotated[Recalibration | None, Since(4)] = None

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Manifest:
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise ValueError("two levels share a name")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes share a name")
        if self.default_level not in names:
            raise ValueError(f"default_level {self.default_level} is not among the levels {', '.join(names)}")
        if self.recalibration and (unknown := self.recalibration.pictures.keys() - set(self.classes)):
            raise ValueError(f"recalibration has pictures of {min(unknown)!r}, which is no class")
        return self

    @model_validator(mode="after")
    def _has_what_its_schema_has(self) -> Manifest:
        for where, record in records(self):
            for name in type(record).model_fields:
                given, since = name in record.model_fields_set, type(record).since(name)
                if given and since > self.schema_version:
                    raise ValueError(f"{where}{name} needs schema version {since}, this is {self.schema_version}")
                if not given and 1 < since <= self.schema_version:
                    raise ValueError(f"{where}{name} is missing: schema version {since} requires it")
        return self

    @property
    def files_of(self) -> tuple[str, int]:
        """Return the version and schema that the level files were written for."""
        earlier = self.recalibration
        return (earlier.files_version, earlier.files_schema) if earlier else (self.version, self.schema_version)

    def level(self, name: str) -> Level | None:
        """Return the level called `name`, or None."""
        return next((level for level in self.levels if level.name == name), None)

    def to_json(self) -> bytes:
        """Return the manifest as stored: UTF-8, indented, ending in a newline, with the keys of its schema."""
        return self.model_dump_json(indent=2, exclude=newer_fields(self, self.schema_version)).encode() + b"\n"
