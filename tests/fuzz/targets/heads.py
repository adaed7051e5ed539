"""Bytes of a connection to the server itself: whole, and byte by byte, the same answers."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import anyio.to_thread

from service.cli.serve import build_server, prepare_process
from service.http.server import bind
from service.observability.access_log import configure_logging
from service.settings import Settings
from tests.fuzz.oracle import MIB, Cost, Target, log_at_once
from tests.support.hostile.heads import HEADS
from tests.support.hostile.pictures.mutations import damage

# The store is empty, so that no network is built: 503 is the answer to those who ask for one.
STATUSES = {
    100,
    200,
    204,
    206,
    304,
    307,
    400,
    404,
    405,
    408,
    411,
    413,
    414,
    415,
    416,
    417,
    421,
    422,
    431,
    501,
    503,
    505,
}
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
# Where a connection is cut for the second time of asking.
PIECES, TIMEOUT_S, QUIET_PASSES, LAST_S = 17, 5.0, 20, 0.01
WORDS = (b"\r\n", b"\n", b"\r", b": ", b" ", b"\0", b"\xff", b"chunked", b"0\r\n\r\n", b"Content-Length: ", b"Upgrade")


class Conversation(NamedTuple):
    """Statuses of a connection; whether bytes that are no request ended it, or the server said that it ends."""

    answered: list[int]
    broken: bool
    closing: bool


class Heads(Target):
    cpu_s, cpu_s_per_kib = 0.3, 0.02
    max_input_bytes = 2**17

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        settings = Settings(
            store=Path(self.folder.name), allow_empty=True, port=0, threads=1, reload_seconds=0, log_level="error"
        )
        configure_logging(settings)
        log_at_once()
        self.server = build_server(settings, bind(settings))
        prepare_process()
        # What is no request is told as a warning, whatever the settings say.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self.loop = asyncio.new_event_loop()
        self.config = self.server._server.config
        self.config.load()
        self.server._server.lifespan = self.config.lifespan_class(self.config)
        self.loop.run_until_complete(self.server._server.lifespan.startup())
        self.server_state = self.server._server.server_state

    def run(self, data: bytes) -> str:
        whole = self._converse([data])
        step = max(1, len(data) // PIECES)
        apart = self._converse([data[start : start + step] for start in range(0, len(data), step)])
        assert _alike(whole, apart), f"in pieces {apart}, at once {whole}"
        return f"{whole}"

    def _converse(self, pieces: list[bytes]) -> Conversation:
        """Send pieces, each once the one before has been read, then no more; return what was answered."""
        received = self.loop.run_until_complete(asyncio.wait_for(self._talk(pieces), TIMEOUT_S))
        heads = list(STATUS_LINE.finditer(received))
        statuses = [int(head[1]) for head in heads]
        assert set(statuses) <= STATUSES, received[:500]
        last = received[heads[-1].start() :].partition(b"\r\n\r\n")[0].lower() if heads else b""
        broken = statuses[-1:] == [400]
        return Conversation(statuses[:-1] if broken else statuses, broken, b"connection: close" in last and not broken)

    async def _talk(self, pieces: list[bytes]) -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, _ = await self.loop.connect_accepted_socket(self._protocol, theirs)
        received = bytearray()
        reading = self.loop.create_task(self._read(ours, received))
        try:
            for piece in pieces:
                await self.loop.sock_sendall(ours, piece)
                await self._rest(received)
            await self._rest(received, LAST_S)
            ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            await reading
        finally:
            transport.abort()
            ours.close()
        return bytes(received)

    async def _rest(self, received: bytearray, seconds: float = 0.0) -> None:
        """Return once the server waits for nothing but more bytes; requests in progress have so long to go on."""
        quiet, seen, since = 0, -1, self.loop.time()
        while quiet < QUIET_PASSES or (self.server_state.tasks and self.loop.time() < since + seconds):
            await asyncio.sleep(0)
            if anyio.to_thread.current_default_thread_limiter().borrowed_tokens or len(received) != seen:
                quiet, seen, since = 0, len(received), self.loop.time()
            quiet += 1

    async def _read(self, ours: socket.socket, received: bytearray) -> None:
        try:
            while more := await self.loop.sock_recv(ours, 2**16):
                received += more
        except OSError:
            pass

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(config=self.config, server_state=self.server_state, app_state={})

    def budget(self, data: bytes) -> Cost:
        return Cost(super().budget(data).cpu_s, 8 * MIB)

    def mutate(self, data: bytes, random: Random) -> bytes:
        """A line removed, repeated, moved or taken from another request, or a word put in."""
        way, lines = random.randrange(6), data.split(b"\r\n")
        place, other = random.randrange(len(lines)), random.randrange(len(lines))
        if way == 0:
            del lines[place]
        elif way == 1:
            lines.insert(other, lines[place])
        elif way == 2:
            lines[place], lines[other] = lines[other], lines[place]
        elif way == 3:
            lines.insert(place, random.choice(random.choice(list(HEADS.values()))[:2000].split(b"\r\n")))
        elif way == 4:
            cut = random.randrange(len(data) + 1)
            return data[:cut] + random.choice(WORDS) + data[cut:]
        else:
            return damage(data, random)
        return b"\r\n".join(lines)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        for name, data in HEADS.items():
            yield f"{name.replace(' ', '-').replace('/', '-')}.http", data

    def close(self) -> None:
        self.folder.cleanup()


def _alike(one: Conversation, other: Conversation) -> bool:
    """Whether one connection is answered like another to which the same bytes come in other pieces.

    A server may close one after an answer, if it says so, where the body had not come; and where bytes that are no
    request follow, it may give up what it has not answered.
    """
    fewer, more = sorted((one, other), key=lambda each: len(each.answered))
    if more.answered[: len(fewer.answered)] != fewer.answered:
        return False
    ended = fewer.closing or (fewer.broken and (more.broken or more.closing))
    return ended or (len(fewer.answered) == len(more.answered) and (more.closing or fewer.broken == more.broken))
