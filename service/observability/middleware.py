"""Observe every request from its first byte to its end: count it, log one line, trace it if configured.

The middleware wraps everything else, so that early refusals and unexpected errors are observed too.
"""

from __future__ import annotations

from http import HTTPMethod, HTTPStatus
from time import monotonic
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.access_log import log_request
from service.observability.request_stats import RequestStats
from service.pipeline.context import RequestContext
from service.stats import RequestOutcome

METHODS = frozenset(HTTPMethod)
# Label of methods and routes that clients made up: they must not create label values.
OTHER = "other"


class Tracer(Protocol):
    """Traces a finished request (`service.observability.tracing`, which needs an extra)."""

    def record(self, context: RequestContext, outcome: RequestOutcome, scope: Scope, ended: float) -> str:
        """Make the spans of a request; return the trace id."""

    def close(self) -> None:
        """Flush pending spans."""


class ObservabilityMiddleware:
    """Open a context for each request, as `request.state.context`, and record it at the end."""

    def __init__(self, app: ASGIApp, stats: RequestStats, tracer: Tracer | None) -> None:
        self.app, self.stats, self.tracer = app, stats, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        context = RequestContext()
        scope.setdefault("state", {})["context"] = context
        status: int | None = None

        async def send_and_observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_observe)
        finally:
            context.close()
            ended, outcome = monotonic(), outcome_of(scope, status)
            self.stats.record(context, outcome, ended - context.begun)
            trace = None if self.tracer is None else self.tracer.record(context, outcome, scope, ended)
            log_request(context, outcome, scope["state"], 1000 * (ended - context.begun), trace)


def outcome_of(scope: Scope, status: int | None) -> RequestOutcome:
    """Classify a request by its response status, None if the client left before there was one."""
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = getattr(scope.get("route"), "path", OTHER)
    if status is None:
        return RequestOutcome(method, route, "", "abandoned", "")
    if status < 400:
        return RequestOutcome(method, route, str(status), "answered", "")
    reason = scope["state"].get("refusal") or HTTPStatus(status).name.lower()
    return RequestOutcome(method, route, str(status), "failed" if status == 500 else "refused", reason)
