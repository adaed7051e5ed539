"""Serve `GET /metrics` for Prometheus."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.api.dependencies import StateDep

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(state: StateDep) -> Response:
    """Return counts and times by model, version and level, and the state of queue and memory, as Prometheus text."""
    # Off the event loop: many levels make a long text.
    text = await anyio.to_thread.run_sync(generate_latest, state.metrics)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
