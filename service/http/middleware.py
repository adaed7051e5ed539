"""What stands before the application: which hosts and origins are answered, and what browsers may do."""

from __future__ import annotations

import logging
import re
import uuid

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import MisdirectedError
from service.http.problems import _respond, refuse
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
# Orchestrators ask these by address.
PROBES = ("/livez", "/readyz")
SECURITY_HEADERS = {
    # Everything comes from here, and nothing stands inline.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

AS_SENT = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


def install(app: FastAPI, settings: Settings) -> None:
    """What the settings ask for; it goes inside of what gives requests their ids."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    if settings.trusted_hosts:
        app.add_middleware(TrustedHostMiddleware, hosts=settings.trusted_hosts)


class TrustedHostMiddleware:
    """Refuses requests that were meant for another host, which is how a page of strangers reaches a private service."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PROBES and not self._known(_host(scope)):
            error = MisdirectedError("this service does not go by the name in Host: ask it by one of its own")
            return await refuse(Request(scope), error)(scope, receive, send)
        return await self.app(scope, receive, send)

    def _known(self, host: str) -> bool:
        return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in self.hosts)


def _host(scope: Scope) -> str:
    """The host without its port, in small letters; an IPv6 address keeps its brackets off."""
    host = Headers(scope=scope).get("host", "").lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class SecurityHeadersMiddleware:
    """Tells browsers to load nothing from elsewhere, to guess no types, and to frame no page of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *AS_SENT]
            await send(message)

        await self.app(scope, receive, send_with_headers)


REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Gives each request an id, the client's own where it has a plain one, and returns it as X-Request-ID.

    It stands outside of everything else, so that an error that nobody foresaw is answered with its id too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(request_id=request_id, caller=None)

        begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            return None  # nobody is there to be told
        except Exception:
            log.exception("request %s failed", request_id)
            if begun:
                raise
            response = _respond(Request(scope), 500, "something went wrong here; the request was not at fault")
            await response(scope, receive, send_with_id)


class CloseOnDrainMiddleware:
    """While draining, each answer closes its connection, so that no request is sent on one that is about to end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["app"].state.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return await self.app(scope, receive, send_last)
