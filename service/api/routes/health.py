"""`GET /livez` and `GET /readyz`: the process, and whether a model can answer."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.schemas import Health, Readiness

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="live_livez_get", summary="Whether the process is alive")
async def live() -> Health:
    """Always 200 while the process can answer at all."""
    return Health(status="alive")


@router.get(
    "/readyz",
    operation_id="ready_readyz_get",
    summary="Whether a model can answer",
    responses={503: {"model": Readiness}},
)
async def ready(request: Request, response: Response) -> Readiness:
    """200 once the networks of default levels are built, 503 before, and from SIGTERM on.

    A store that is away is no reason to take the service out of its load balancer.
    """
    draining, store = request.app.state.draining, "away" if request.app.state.catalog.away else "here"
    if request.app.state.ready and not draining:
        return Readiness(status="ready", store=store)
    response.status_code = 503
    return Readiness(status="draining" if draining else "starting", store=store)
