"""`GET /livez` and `GET /readyz`: the process, and whether a model can answer."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """One word on how the service is."""

    status: Literal["alive", "ready", "starting", "draining"]


@router.get("/livez", summary="Whether the process is alive")
async def live() -> Health:
    """Always 200 while the process can answer at all."""
    return Health(status="alive")


@router.get("/readyz", summary="Whether a model can answer", responses={503: {"model": Health}})
async def ready(request: Request, response: Response) -> Health:
    """200 once the networks of default levels are built, 503 before, and from SIGTERM on."""
    draining = request.app.state.draining
    if request.app.state.ready and not draining:
        return Health(status="ready")
    response.status_code = 503
    return Health(status="draining" if draining else "starting")
