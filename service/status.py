"""What `GET /status` says: how busy the service is, and how each level's predictions do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.admission import Admission
from service.catalog import Catalog
from service.drift import Drift
from service.served import ServedLevel
from service.traffic import Traffic


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


def status_of(catalog: Catalog, admission: Admission, traffic: Traffic) -> Status:
    """The status now; levels that never answered are left out."""
    load = Load(
        queued=admission.waiting,
        capacity=admission.limit,
        step=admission.degraded,
        answered_per_second=traffic.rate.per_second,
    )
    store: Literal["here", "away"] = "away" if catalog.away else "here"
    return Status(
        load=load, store=store, levels=[_level(served) for served in catalog.served() if served.record.answered]
    )


def _level(served: ServedLevel) -> LevelStatus:
    manifest, record = served.manifest, served.record
    return LevelStatus(
        model=manifest.model,
        version=manifest.version,
        level=served.level.name,
        answered=record.answered,
        abstained=record.abstained,
        drift=_drift(record.drift),
    )


def _drift(drift: Drift) -> DriftStatus:
    indices = {name: window.index() for name, window in drift.windows().items()}
    return DriftStatus(count=len(drift.confidence.latest), **indices)
