"""A small TCP proxy that can do to a connection what networks and servers do to theirs."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE = 16_384
# Closing so tells the other side that the connection was reset.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to `host:port`, from a free port of 127.0.0.1.

    `up` False refuses connections; `rate` is in bytes a second to the client; `silent` forwards no answer. The next
    connections get each one of `answers` and are closed; after `cut_after` bytes of an answer its connection is cut,
    `cuts` times. What clients send goes through `rewrite`.
    """

    def __init__(self, server: str) -> None:
        host, _, port = server.partition(":")
        self.server = (host, int(port))
        self.up, self.silent = True, False
        self.rate: float | None = None
        self.answers: list[bytes] = []
        self.cut_after, self.cuts = 0, 0
        self.rewrite: tuple[bytes, bytes] | None = None
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()

    @property
    def address(self) -> str:
        """Its `host:port`."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection there is."""
        with self._lock:
            there, self._open = self._open, set()
        for one in there:
            _reset(one)

    def down(self) -> None:
        """Reset every connection and take no other."""
        self.up = False
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if not self.up:
                _reset(client)
            elif self.answers:
                threading.Thread(target=self._answer, args=(client, self.answers.pop(0)), daemon=True).start()
            else:
                self._connect(client)

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        with client:
            client.recv(PIECE)
            client.sendall(answer)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.server)
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._open |= {client, server}
        for source, target, to_client in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._forward, args=(source, target, to_client), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(PIECE):
                if not to_client and self.rewrite is not None:
                    data = data.replace(*self.rewrite)
                while to_client and self.silent:
                    time.sleep(0.05)
                if to_client and self.rate is not None:
                    time.sleep(len(data) / self.rate)
                sent += len(data)
                if to_client and self.cuts and sent > self.cut_after:
                    self.cuts -= 1
                    target.sendall(data[: self.cut_after - sent])
                    break
                target.sendall(data)
        with self._lock:
            self._open -= {source, target}
        for one in (source, target):
            _shut(one)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _reset(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.shutdown(socket.SHUT_RDWR)
    one.close()
