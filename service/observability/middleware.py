"""Sees every request from its first byte to its end: counts it, writes one line about it, and traces it where asked to.

It stands outside of everything else, so that what is refused early, or fails in a way that nobody foresaw, is seen too.
"""

from __future__ import annotations

from http import HTTPMethod, HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.access_log import log_request
from service.observability.request_stats import RequestStats
from service.pipeline.context import RequestContext
from service.stats import RequestOutcome

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

METHODS = frozenset(HTTPMethod)
# A method or route that clients made up: they may not name what we count by.
OTHER = "other"


class ObservabilityMiddleware:
    """Opens an account for each request, as `request.state.account`, and closes it when everything is over."""

    def __init__(self, app: ASGIApp, traffic: RequestStats, tracing: Tracing | None) -> None:
        self.app, self.traffic, self.tracing = app, traffic, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        account = RequestContext()
        scope.setdefault("state", {})["account"] = account
        status: int | None = None

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        finally:
            self._close(account, scope, status)

    def _close(self, account: RequestContext, scope: Scope, status: int | None) -> None:
        ended = monotonic()
        ending = outcome_of(scope, status)
        self.traffic.record(account, ending, ended - account.begun)
        trace = None if self.tracing is None else self.tracing.record(account, ending, scope, ended)
        log_request(account, ending, scope["state"], 1000 * (ended - account.begun), trace)


def outcome_of(scope: Scope, status: int | None) -> RequestOutcome:
    """How a request ended that was answered with `status`, or with None, since its client left first."""
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = getattr(scope.get("route"), "path", OTHER)
    if status is None:
        return RequestOutcome(method, route, "", "abandoned", "")
    if status < 400:
        return RequestOutcome(method, route, str(status), "answered", "")
    reason = scope["state"].get("refusal") or HTTPStatus(status).name.lower()
    return RequestOutcome(method, route, str(status), "failed" if status == 500 else "refused", reason)
