"""Route prediction requests past the framework.

Matching a route, resolving its dependencies and validating its parameters takes the framework longer than a small
network computes. The framework still documents these routes and answers everything else on their paths; what it would
do before them, authentication and error responses, is done here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import RequestError
from service.http.problems import refuse

Handler = Callable[[Request], Awaitable[Response]]


class FastPathMiddleware:
    """Answer requests to some routers' routes directly; their path parameters are in `request.path_params`."""

    def __init__(
        self,
        app: ASGIApp,
        authenticate: Callable[[Request], object],
        charge: Callable[[Request, RequestError], object],
        *handlers: tuple[APIRouter, Handler],
    ) -> None:
        self.app, self.authenticate, self.charge = app, authenticate, charge
        self.routes = [
            (route, handler) for router, handler in handlers for route in router.routes if isinstance(route, APIRoute)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._find(scope) if scope["type"] == "http" and not scope.get("root_path") else None
        if handler is None:
            return await self.app(scope, receive, send)
        request = Request(scope, receive, send)
        try:
            self.authenticate(request)
            response = await handler(request)
        except RequestError as error:
            self.charge(request, error)
            response = refuse(request, error)
        return await response(scope, receive, send)

    def _find(self, scope: Scope) -> Handler | None:
        for route, handler in self.routes:
            match = route.path_regex.match(scope["path"])
            if match is not None and scope["method"] in (route.methods or ()):
                scope["route"], scope["path_params"] = route, match.groupdict()
                return handler
        return None
