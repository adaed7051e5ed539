"""A real OCI registry: Debian's docker-registry, with a configuration of the test's own, on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.requirements import program
from tests.support.waiting import HANG_S

SECONDS = 20.0


@contextmanager
def registry_server(
    folder: Path,
    *,
    in_memory: bool = False,
    host: str = "127.0.0.1",
    auth: dict[str, Any] | None = None,
    tls: dict[str, str] | None = None,
    **storage: Any,
) -> Iterator[str]:
    """A registry that keeps everything in `folder`, or in memory, while the block runs; yields its `host:port`.

    `auth`, `tls` and `storage` are of its configuration: https://distribution.github.io/distribution/about/configuration/
    """
    binary = program("docker-registry")
    address = f"{host}:{_free_port(host)}"
    kept = {"inmemory": {}} if in_memory else {"filesystem": {"rootdirectory": str(folder / "data")}}
    configuration = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": kept | {"delete": {"enabled": True}} | storage,
        "http": {"addr": address, "secret": "of these tests", **({"tls": tls} if tls else {})},
        **({"auth": auth} if auth else {}),
    }
    (folder / "configuration.json").write_text(json.dumps(configuration))  # which is YAML as well
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([binary, "serve", str(folder / "configuration.json")], stdout=log, stderr=log)
    try:
        _await(server, address, folder / "log")
        yield address
    finally:
        server.kill()
        server.wait()


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + HANG_S
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection((host, int(port))).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the registry did not start: {log.read_text()}")
