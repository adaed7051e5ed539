"""A short way to the routes that do the work.

To find a route, to call what it depends on and to read its parameters takes the framework longer than a small network
computes. It still describes these routes, and answers whatever else is asked of their paths. What it would do before
them is done here: a key is asked for, and errors become answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import RequestError
from service.http.auth import authenticate
from service.http.problems import refuse

Handler = Callable[[Request], Awaitable[Response]]


class FastPathMiddleware:
    """Has requests of some routers' routes answered at once; their path's parameters are in `request.path_params`."""

    def __init__(self, app: ASGIApp, *ways: tuple[APIRouter, Handler]) -> None:
        self.app = app
        self.ways = [
            (route, handler) for router, handler in ways for route in router.routes if isinstance(route, APIRoute)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._find(scope) if scope["type"] == "http" and not scope.get("root_path") else None
        if handler is None:
            return await self.app(scope, receive, send)
        request = Request(scope, receive, send)
        try:
            authenticate(request)
            response = await handler(request)
        except RequestError as error:
            response = refuse(request, error)
        return await response(scope, receive, send)

    def _find(self, scope: Scope) -> Handler | None:
        for route, handler in self.ways:
            match = route.path_regex.match(scope["path"])
            if match is not None and scope["method"] in (route.methods or ()):
                scope["route"], scope["path_params"] = route, match.groupdict()
                return handler
        return None
