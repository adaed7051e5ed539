"""Wrap the application: request ids, trusted hosts, CORS, HEAD and OPTIONS, security headers."""

from __future__ import annotations

import logging
import os
import re

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import MisdirectedError
from service.http.problems import problem_response, refuse
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
# A client's own request id is used if it looks like this.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Orchestrators probe these by address, not by name.
PROBES = ("/livez", "/readyz")
SECURITY_HEADERS = {
    # The page loads everything from this service and has no inline scripts.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Every header of a request that the service reads, and of a response that it writes, beyond those that CORS always
# allows: scripts of other origins may send and read these. A test compares both with the code.
REQUEST_HEADERS = (
    *("Accept", "Accept-Encoding", "Authorization", "Content-Encoding", "Content-Type", "If-None-Match"),
    *("Inference-Header-Content-Length", "traceparent", "tracestate", "X-API-Key", "X-Request-ID"),
)
RESPONSE_HEADERS = (
    *("Allow", "Content-Encoding", "ETag", "Inference-Header-Content-Length", "Retry-After", "Vary"),
    *("WWW-Authenticate", "X-Request-ID"),
)
ENCODED_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


def add_cors_and_hosts(app: FastAPI, settings: Settings) -> None:
    """Add CORS and trusted hosts if configured; inside of `RequestIdMiddleware`."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "OPTIONS", "POST"],
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
        )
    if settings.trusted_hosts:
        app.add_middleware(TrustedHostMiddleware, hosts=settings.trusted_hosts)


class TrustedHostMiddleware:
    """Refuse requests for other host names: a DNS-rebinding page reaches a private service that way."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PROBES:
            host = _host(scope)
            if not any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in self.hosts):
                error = MisdirectedError("this service does not answer to the name in Host: use one of its own")
                return await refuse(Request(scope), error)(scope, receive, send)
        return await self.app(scope, receive, send)


def _host(scope: Scope) -> str:
    """Return the host in lower case, without port or the brackets of an IPv6 address."""
    host = Headers(scope=scope).get("host", "").lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class MethodsMiddleware:
    """Answer HEAD on every GET route as GET without its content, and OPTIONS with the methods of a path.

    See RFC 9110, sections 9.3.2 and 9.3.7.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("HEAD", "OPTIONS"):
            return await self.app(scope, receive, send)
        head = empty = scope["method"] == "HEAD"

        async def send_without_content(message: Message) -> None:
            nonlocal empty
            if message["type"] == "http.response.start" and message["status"] == 405 and not head:
                empty, message = True, _methods_alone(message)
            elif message["type"] == "http.response.body" and empty:
                message = {**message, "body": b""}
            await send(message)

        # The server must still see HEAD, so that it sends no content.
        inner = dict(scope, method="GET") if head else scope
        try:
            return await self.app(inner, receive, send_without_content)
        finally:
            if "route" in inner:  # metrics are by route
                scope["route"] = inner["route"]


def _methods_alone(message: Message) -> Message:
    """Return the response to OPTIONS for a refusal that lists the methods of a path."""
    kept = [(name, value) for name, value in message["headers"] if name not in (b"content-length", b"content-type")]
    return {**message, "status": 204, "headers": kept}


class SecurityHeadersMiddleware:
    """Tell browsers to load nothing from elsewhere, to sniff no types, and to frame no page of this service."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *ENCODED_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class RequestIdMiddleware:
    """Give each request an id, the client's own if it is plain, and return it as X-Request-ID.

    It wraps nearly everything else, so that an unexpected error is answered with its id too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        scope.setdefault("state", {}).update(request_id=request_id, caller=None, counted=False)

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
            return None  # no client is left to answer
        except Exception:
            log.exception("request %s failed", request_id)
            if begun:
                raise
            response = problem_response(Request(scope), 500, "an error in the service; the request was not at fault")
            await response(scope, receive, send_with_id)
