"""Speak to a service on plain sockets, byte by byte, as no client library does."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from service.cli.serve import build_server
from service.http.server import bind
from service.settings import Settings
from tests.support.services import wait_until
from tests.support.waiting import HANG_S


@contextmanager
def served(store: Path | str, **settings: object) -> Iterator[str]:
    """The URL of a service on a socket of this process."""
    chosen = Settings(store=store, port=0, **settings)
    server = build_server(chosen, bind(chosen))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        yield server.url
    finally:
        server.stop()
        thread.join()


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    """A plain connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=HANG_S) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield opened


def read_to_end(opened: socket.socket) -> bytes:
    """All that the other side says until it closes, which it must."""
    said = b""
    while more := opened.recv(65536):
        said += more
    return said


def exchange(url: str, *parts: bytes, half_close: bool = False) -> bytes:
    """Send each part once the one before was sent, and return all that is said until the other side closes."""
    with connection(url) as opened:
        for part in parts:
            opened.sendall(part)
        if half_close:
            opened.shutdown(socket.SHUT_WR)
        return read_to_end(opened)


def statuses(said: bytes) -> list[int]:
    """The statuses of all responses, interim ones too."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)]
