"""Bodies of prediction requests in all their forms, to the whole application: every answer is documented."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

from model_store.storage.location import ZOO
from service.app import create_app
from service.cli.serve import prepare_process
from service.observability.access_log import configure_logging
from service.settings import Settings
from tests.fuzz.oracle import MIB, Cost, Target, log_at_once
from tests.fuzz.targets.manifests import changed_document
from tests.support.hostile.bodies import BODIES
from tests.support.hostile.pictures.mutations import damage, kind_of, mutate

# One answer of each is what the API documents; 503 and 504 may follow from a deadline that the input asks for.
STATUSES = {200, 400, 404, 405, 408, 413, 415, 422}
LATE = {503, 504}
SECRETS = re.compile(rb"Traceback|/tmp|\.py\b|site-packages|object at 0x")
MAX_BODY_BYTES, MAX_PIXELS, TIMEOUT_S = 2**20, 2**18, 60
MAX_SEED_BYTES = 10_000
# What differs between two answers to the same request.
CHANGING = re.compile(rb'"(?:request_id|timing_ms|queue|decode|inference)": ?(?:"[^"]*"|\{[^}]*\}|[\d.e-]+)')


class Bodies(Target):
    """An input is written as HTTP: a line, headers, an empty line and the body."""

    cpu_s, cpu_s_per_kib = 0.5, 0.01

    def __init__(self) -> None:
        settings = Settings(
            store=ZOO,
            threads=1,
            max_samples=8,
            max_images=8,
            max_pixels=MAX_PIXELS,
            max_body_bytes=MAX_BODY_BYTES,
            max_wait_ms=60_000,
            reload_seconds=0,
            log_level="warning",
        )
        configure_logging(settings)
        log_at_once()
        prepare_process()
        self.app = create_app(settings)
        self.loop = asyncio.new_event_loop()
        self.lifespan = self.loop.create_task(self._live())
        while self._status(self._ask(b"GET", b"/readyz", [], b"")) != 200:
            self.loop.run_until_complete(asyncio.sleep(0.01))

    async def _live(self) -> None:
        """Keep the application alive, as a server does."""
        started = False

        async def receive() -> dict[str, Any]:
            nonlocal started
            if started:
                await asyncio.Event().wait()
            started = True
            return {"type": "lifespan.startup"}

        async def send(message: dict[str, Any]) -> None:
            pass

        await self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    def run(self, data: bytes) -> str:
        parsed = split(data)
        if parsed is None:
            return "no request"
        method, path, headers, body = parsed
        messages = self._ask(method, path, headers, body)
        status, answer = self._status(messages), b"".join(each.get("body", b"") for each in messages[1:])
        late = b"deadline_ms" in path + body and status in LATE | {200}
        assert status in STATUSES or late, (status, answer[:500])
        assert not SECRETS.search(answer), answer[:500]
        if status != 200 and method != b"HEAD":
            document = json.loads(answer)
            assert document.get("detail") or document.get("error"), answer[:500]
        return "in time or late" if late else f"{status} {CHANGING.sub(b'', answer)!r}"

    def _ask(self, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> list[dict[str, Any]]:
        address, _, query = path.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method.decode("latin-1"),
            "scheme": "http",
            "path": address.decode("latin-1"),
            "raw_path": address,
            "root_path": "",
            "query_string": query,
            "headers": [(b"host", b"a"), (b"content-length", str(len(body)).encode()), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        return self.loop.run_until_complete(asyncio.wait_for(self._answer(scope, body), TIMEOUT_S))

    async def _answer(self, scope: dict[str, Any], body: bytes) -> list[dict[str, Any]]:
        messages, left = list[dict[str, Any]](), [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return left.pop()

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        return messages

    def _status(self, messages: list[dict[str, Any]]) -> int:
        return int(messages[0]["status"])

    def budget(self, data: bytes) -> Cost:
        return Cost(super().budget(data).cpu_s, 32 * MIB)

    def mutate(self, data: bytes, random: Random) -> bytes:
        """Another body of the same kind, inflated and compressed again, or now and then another head."""
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator or random.random() < 0.15:
            return damage(data, random)
        packed = b"gzip" in head and random.random() < 0.9
        body = _inflated(body) if packed else body
        body = _changed(body, random)
        return head + separator + (gzip.compress(body, 1, mtime=0) if packed else body)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        for name, make in BODIES.items():
            headers, body = make(MAX_BODY_BYTES)
            if len(body) > MAX_SEED_BYTES:
                headers, body = make(MAX_SEED_BYTES)
            path = headers.pop("path")
            lines = [f"POST {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
            yield f"{name.replace(' ', '-')}.http", "\r\n".join([*lines, "", ""]).encode() + body

    def close(self) -> None:
        self.lifespan.cancel()
        self.app.state.service.repository.close()


def split(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes] | None:
    """Method, path, headers and body of an input; None where it has none of them."""
    head, separator, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    # Any other line is a matter of the protocol, not of the application.
    if not separator or len(words) != 3 or words[0] not in (b"POST", b"GET", b"HEAD") or not words[1].startswith(b"/"):
        return None
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return (
        words[0],
        words[1],
        [(name, value) for name, value in pairs if name not in (b"host", b"content-length")],
        body,
    )


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        return body


def _changed(body: bytes, random: Random) -> bytes:
    """A changed picture, document, or picture in a form."""
    if kind_of(body):
        return mutate(body, random)
    if body[:1] in b"{[" and random.random() < 0.7:
        try:
            return json.dumps(changed_document(json.loads(body), random)).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            return damage(body, random)
    return damage(body, random)
