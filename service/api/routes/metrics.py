"""`GET /metrics`: what Prometheus reads."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.observability.prometheus import ServiceCollector

router = APIRouter(tags=["health"])
TEXT: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get(
    "/metrics",
    operation_id="metrics_metrics_get",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: TEXT},
)
async def metrics(request: Request) -> Response:
    """Counts and times by model, version and level, and the state of queue and memory, in Prometheus's text format."""
    state = request.app.state
    seen: ServiceCollector = state.metrics
    # Off the event loop: many levels make a long text.
    text = await anyio.to_thread.run_sync(generate_latest, seen.registry)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
