"""The process: its socket, its signals, its end."""

from __future__ import annotations

import socket

import uvicorn

from service.app import create_app
from service.errors import StartError
from service.settings import Settings


class Server:
    """One service on one socket, which is bound at once, so that its address is known before it serves."""

    def __init__(self, settings: Settings) -> None:
        self.socket = _bind(settings.host, settings.port)
        try:
            app = create_app(settings)
        except BaseException:
            self.socket.close()
            raise
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="on")
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C, and finish what was accepted; then the signal's own handler is called."""
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.socket.close()

    def run_in_background(self) -> None:
        """Serve from a thread other than the main one; `stop` ends it."""
        self._server.run(sockets=[self.socket])
        self.socket.close()

    @property
    def started(self) -> bool:
        """Whether it answers requests."""
        return self._server.started

    def stop(self) -> None:
        """Finish what was accepted and end."""
        self._server.should_exit = True


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from error
    return bound
