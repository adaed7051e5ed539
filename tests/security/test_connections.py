"""Hostile connections: whatever is sent on one, the process stays small and the others are answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.http.api_keys import Key
from tests.support.services import running_service
from tests.support.sockets import connection, exchange, read_to_end, statuses

HEAD = b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 2**20
# What is sent is much more than what a process may grow by.
SENT_MIB, GROWTH_MIB = 48, 24
FLOODS = {
    "trailers": (HEAD + b"0\r\n", b"a:\r\n"),
    "one trailer": (HEAD + b"0\r\na: ", b"a"),
    "chunk extension": (HEAD + b"1;", b"a"),
    "chunk extensions": (HEAD, b"1;" + b"a" * 100 + b"\r\nb\r\n"),
    "last chunk's extension": (HEAD + b"0;", b"a"),
    "headers": (b" HTTP/1.1\r\nHost: a\r\n", b"a:\r\n"),
    "one header": (b" HTTP/1.1\r\nHost: a\r\na: ", b"a"),
    "a header's spaces": (b" HTTP/1.1\r\nHost: a\r\na:", b" "),
    "a header's name": (b" HTTP/1.1\r\nHost: a\r\n", b"a"),
    "target": (b"", b"a"),
    "headers of an upgrade": (b" HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n", b"a:\r\n"),
    "pipelined requests": (b" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A process with keys, none of which is used here."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{Key.make('ann', 'user')[1]}\n")
    with running_service("zoo", "--keys-file", str(keys)) as (url, process):
        yield url, process.pid


def resident_mib(pid: int) -> float:
    """The greatest memory of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize("line", [b"GET /livez", b"POST /predict", b"GET /none"])
@pytest.mark.parametrize("name", FLOODS)
def test_floods_outside_of_bodies_are_bounded(service: tuple[str, int], name: str, line: bytes) -> None:
    """Before any key is checked: what comes is dropped or not read, and the process stays as small as it was."""
    url, pid = service
    begin, repeated = FLOODS[name]
    before, block = resident_mib(pid), repeated * (MIB // len(repeated))
    with connection(url) as opened:
        opened.settimeout(1.0)
        try:
            opened.sendall(line + begin)
            for _ in range(SENT_MIB):
                opened.sendall(block)
        except (TimeoutError, OSError):  # closed, reset, or no longer read
            pass
        assert httpx.get(f"{url}/livez").status_code == 200
    assert resident_mib(pid) < before + GROWTH_MIB


@pytest.mark.parametrize("name", [name for name in FLOODS if name != "pipelined requests"])
def test_floods_are_answered_with_an_error(service: tuple[str, int], name: str) -> None:
    """Which the client can read, though it was still sending."""
    url, _ = service
    begin, repeated = FLOODS[name]
    said = exchange(url, b"POST /livez" + begin + repeated * (MIB // len(repeated)))
    assert statuses(said)[0] in (400, 405, 414, 431)
    assert b"connection: close" in said.lower()


def test_bodies_of_one_byte_chunks_leave_the_loop_to_others(service: tuple[str, int]) -> None:
    """Eight of them at once: every other request in between is answered, and they end as what they are."""
    url, _ = service
    head = b"POST /v2/repository/index" + HEAD.replace(b"Host", b"Connection: close\r\nHost")
    opened: list[socket.socket] = []
    for _ in range(8):
        with connection(url) as one:
            opened.append(one.dup())
            one.sendall(head + b"1\r\na\r\n" * 200_000)
    for _ in range(20):
        assert httpx.get(f"{url}/livez").status_code == 200
    for one in opened:
        try:
            assert statuses(read_to_end(one)) == [401]
        finally:
            one.close()
