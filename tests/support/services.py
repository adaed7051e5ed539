"""Start services: in this process for quick questions, and in one of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from service.app import create_app
from service.observability.tracing import Tracing
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.http import ask
from tests.support.waiting import HANG_S

# A client's five seconds would decide what is right where the machine is busy.
for _part in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _part, HANG_S)


def wait_until(ready: Callable[[], bool], seconds: float = HANG_S) -> None:
    """Return once `ready` holds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "the service did not become ready"
        time.sleep(0.02)


@contextmanager
def running_service(store: Path | str, *flags: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`slimbayes serve` in a process of its own, on a free port of 127.0.0.1."""
    # Nobody reads its log meanwhile, so that it must not be long.
    command = [sys.executable, "-m", "service", "--store", str(store), "--port", "0", "--log-level", "warning", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        # Its lines end with the process, if it does not start.
        addresses = (re.search(r"http://[\d.]+:\d+", line) for line in process.stdout)
        found = next(filter(None, addresses), None)
        assert found, process.stderr and process.stderr.read()
        url = found.group()
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=HANG_S).status_code == 200)
        yield url, process
    finally:
        process.kill()
        process.communicate()


# A busy machine is no reason to refuse anybody, where that is not what is tested.
PATIENT_MS = 60_000


class Warm(TestClient):
    """A service of its own in this process, ready once entered."""

    def __init__(self, store: Path | str, tracing: Tracing | None = None, **settings: Any) -> None:
        super().__init__(create_app(Settings(store=store, **settings), tracing), raise_server_exceptions=False)

    def __enter__(self) -> Warm:
        super().__enter__()
        wait_until(lambda: self.get("/readyz").status_code == 200)
        return self


def catalog_of(client: TestClient) -> ModelRepository:
    """The application's catalog."""
    catalog: ModelRepository = client.app.state.service.repository  # type: ignore[attr-defined]
    return catalog


def answering(client: TestClient, example: bytes) -> str:
    """The version that answers now, which no client asked for."""
    version: str = ask(client, example)["version"]
    return version


def default_level(client: TestClient) -> str:
    """The level that answers who names none."""
    return catalog_of(client).model(None).version(None).level(None).level.name
