"""Serve `GET /livez` and `GET /readyz`: liveness of the process, readiness of its models."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service.api.dependencies import StateDep
from service.api.schemas import Health, Readiness

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Whether the process is alive")
async def live() -> Health:
    """Answer 200 as long as the process can answer at all."""
    return Health(status="alive")


@router.get("/readyz", summary="Whether a model can answer", responses={503: {"model": Readiness}})
async def ready(state: StateDep, response: Response) -> Readiness:
    """Answer 200 once the networks of default levels are built, 503 before, and from SIGTERM on.

    An unreachable store does not make the service unready: it serves loaded models. Nor does a single model that
    cannot be served, while others answer.
    """
    unready = sorted(state.repository.problems())
    if state.answering:
        return Readiness(status="ready", store=state.store, unready=unready)
    response.status_code = 503
    return Readiness(status="draining" if state.draining.is_set() else "starting", store=state.store, unready=unready)
