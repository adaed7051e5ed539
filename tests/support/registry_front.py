"""A server of HTTP that stands before a registry and does to its answers what other registries and networks do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import httpx

PASSED_ON = ("authorization", "accept", "content-type", "host")
KEPT = ("content-type", "docker-content-digest", "location", "link", "www-authenticate")


@dataclass(frozen=True)
class Asked:
    """A request; `path` is with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answered:
    """What is answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Front:
    """Passes on to `host:port` what `rule` does not answer; `change` may alter what comes back. `asked` has it all."""

    def __init__(self, registry: str = "") -> None:
        self.registry = registry
        self.rule: Callable[[Asked], Answered | None] = lambda asked: None
        self.change: Callable[[Asked, Answered], Answered] = lambda asked, answered: answered
        self.asked: list[Asked] = []
        self._client = httpx.Client(trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()

    @property
    def address(self) -> str:
        """Its `host:port`."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def answer(self, asked: Asked) -> Answered:
        """What the rule says, else the registry."""
        self.asked.append(asked)
        return self.rule(asked) or self.change(asked, self._pass_on(asked))

    def _pass_on(self, asked: Asked) -> Answered:
        headers = {name: value for name, value in asked.headers.items() if name in PASSED_ON}
        answer = self._client.request(
            asked.method, f"http://{self.registry}{asked.path}", headers=headers, content=asked.body
        )
        kept = {name: value for name, value in answer.headers.items() if name in KEPT}
        return Answered(answer.status_code, kept, answer.content)

    def _handler(front) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                answered = front.answer(Asked(self.command, self.path, headers, body))
                self.send_response(answered.status)
                for name, value in {"content-length": str(len(answered.body)), **answered.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(b"" if self.command == "HEAD" else answered.body)
                except ConnectionError:  # who asked has heard enough
                    self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
