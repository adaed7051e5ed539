"""`GET /status`: how the service does, for people and the page."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.status import Status, status_of

router = APIRouter(tags=["health"])


@router.get("/status", operation_id="status_status_get", summary="How busy the service is, and how its predictions do")
async def status(request: Request) -> Status:
    """Waiting work, answers a second, and for each level that answered: abstentions, and drift since the test set."""
    state = request.app.state
    return status_of(state.catalog, state.admission, state.traffic)
