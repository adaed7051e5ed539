"""What `GET /status` says: how busy the service is, and how each level's predictions do.

`GET /status`: how the service does, for people and the page.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request

from service.api.schemas import DriftStatus, LevelStatus, Load, Status
from service.observability.request_stats import RequestStats
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.scheduling.admission import Admission
from service.stats import DriftMonitor


def status_of(catalog: ModelRepository, admission: Admission, traffic: RequestStats) -> Status:
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


def _level(served: LoadedLevel) -> LevelStatus:
    manifest, record = served.manifest, served.record
    return LevelStatus(
        model=manifest.model,
        version=manifest.version,
        level=served.level.name,
        answered=record.answered,
        abstained=record.abstained,
        drift=_drift(record.drift),
    )


def _drift(drift: DriftMonitor) -> DriftStatus:
    indices = {name: window.index() for name, window in drift.windows().items()}
    return DriftStatus(count=len(drift.confidence.latest), **indices)


router = APIRouter(tags=["health"])


@router.get("/status", operation_id="status_status_get", summary="How busy the service is, and how its predictions do")
async def status(request: Request) -> Status:
    """Waiting work, answers a second, and for each level that answered: abstentions, and drift since the test set."""
    state = request.app.state
    return status_of(state.catalog, state.admission, state.traffic)
