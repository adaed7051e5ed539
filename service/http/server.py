"""The process: its socket, its certificate, its signals, its end."""

from __future__ import annotations

import gc
import socket
import ssl
import sys
from functools import partial

import uvicorn

from service.app import create_app
from service.errors import StartupError
from service.http.draining import DrainingServer
from service.http.protocol import LimitedProtocol
from service.pipeline.preprocessing import ignore_metadata_warnings
from service.settings import Settings

SWITCH_SECONDS = 0.0005
# Longer than clients and balancers keep an idle connection: who ends one must not be who a request is sent to.
KEEP_ALIVE_SECONDS = 75


def prepare_process() -> None:
    """Set up the interpreter of a process that serves, once its application is there; never called by a library."""
    # So that the event loop never waits long for a thread that computes in Python.
    sys.setswitchinterval(SWITCH_SECONDS)
    ignore_metadata_warnings()
    # What is there stays: to look through all of it for garbage would halt every thread for some 60 ms.
    gc.collect()
    gc.freeze()


def bind(settings: Settings) -> socket.socket:
    """The socket to serve on; raise StartError where it is not to be had."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(2048)  # from here on the port is ours; who calls too early waits
        except OSError:
            bound.close()
            raise
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        raise StartupError(f"cannot listen on {where}: {error.strerror}; choose another --host or --port") from error
    return bound


class Server:
    """One service on a socket that was bound before, so that its address is known and its own."""

    def __init__(self, settings: Settings, bound: socket.socket) -> None:
        self.socket = bound
        _check_certificate(settings)
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=partial(LimitedProtocol, timeout_s=settings.receive_seconds),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            lifespan="on",
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        self._scheme = "https" if settings.tls_cert else "http"
        self._server = DrainingServer(config, app, settings.drain_seconds)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.socket.getsockname()[:2]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C, and finish what was accepted; then the signal's own handler is called.

        The process is the server's from here on: see `prepare_process`.
        """
        prepare_process()
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.socket.close()

    def run_in_background(self) -> None:
        """Serve from a thread other than the main one; `stop` ends it. The process stays as it is set up."""
        self._server.run(sockets=[self.socket])
        self.socket.close()

    def stop(self) -> None:
        """Finish what was accepted and end."""
        self._server.should_exit = True


def _check_certificate(settings: Settings) -> None:
    """Raise StartError where the certificate and key cannot be used."""
    if settings.tls_cert is None:
        return
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")  # ask nobody for one
    except OSError as error:  # which ssl.SSLError is
        reason = (
            "they are no pair of certificate and plain key in PEM"
            if isinstance(error, ssl.SSLError)
            else error.strerror
        )
        raise StartupError(f"cannot use {settings.tls_cert} with {settings.tls_key}: {reason}") from error
