"""Run an application on a socket: certificate, HTTP protocol, signals, end."""

from __future__ import annotations

import socket
import ssl
import threading
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from service.errors import StartupError
from service.http.connection.intake import PipelineTurns
from service.http.connection.protocol import LimitedProtocol
from service.http.draining import DrainingServer
from service.settings import Settings

BACKLOG = 2048


def bind(settings: Settings) -> socket.socket:
    """Bind the socket to serve on; raise StartupError if that is impossible."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)  # early clients wait in the backlog until the service is up
        except OSError:
            bound.close()
            raise
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        raise StartupError(f"cannot listen on {where}: {error.strerror}; choose another --host or --port") from error
    return bound


def check_certificate(settings: Settings) -> None:
    """Raise StartupError if the certificate and key cannot be used."""
    if settings.tls_cert is None:
        return
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")  # fail rather than prompt
    except OSError as error:  # includes ssl.SSLError
        problem = "they are not a pair of certificate and unencrypted key in PEM"
        reason = problem if isinstance(error, ssl.SSLError) else error.strerror
        raise StartupError(f"cannot use {settings.tls_cert} with {settings.tls_key}: {reason}") from error


class Server:
    """Serve an application on a bound socket; `draining` is set when the process receives a signal."""

    def __init__(self, app: ASGIApp, draining: threading.Event, settings: Settings, bound: socket.socket) -> None:
        self.socket = bound
        config = uvicorn.Config(
            app,
            http=partial(LimitedProtocol, timeout_s=settings.receive_seconds, turns=PipelineTurns()),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            lifespan="on",
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        self._scheme = "https" if settings.tls_cert else "http"
        self._server = DrainingServer(config, draining, settings.drain_seconds, settings.max_wait_ms / 1000)

    @property
    def url(self) -> str:
        """Return the address to send requests to."""
        host, port = self.socket.getsockname()[:2]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def run(self) -> None:
        """Serve until SIGTERM, SIGHUP, Ctrl-C or `stop`, and finish accepted requests."""
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.socket.close()

    def stop(self) -> None:
        """Finish accepted requests and end."""
        self._server.should_exit = True
