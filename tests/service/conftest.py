"""A service in this process for quick questions, and one in its own process for what only a real one can show."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.settings import Settings
from service.tracing import Tracing


def png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 pixels [H, W] or [H, W, 3]."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def wait_until(ready: Callable[[], bool], seconds: float = 60.0) -> None:
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
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=30).status_code == 200)
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


@pytest.fixture(scope="session")
def example(digits_run: Path) -> bytes:
    """A held-out digit as PNG."""
    return min((digits_run / "examples").glob("*.png")).read_bytes()


@pytest.fixture(scope="session")
def client(digits_store: Path) -> Iterator[TestClient]:
    """A ready service in this process."""
    with Warm(digits_store, max_body_bytes=2**20, max_wait_ms=PATIENT_MS) as client:
        yield client


@pytest.fixture
def fresh(digits_store: Path) -> Iterator[TestClient]:
    """A ready service that nobody has asked yet."""
    with Warm(digits_store, max_wait_ms=PATIENT_MS) as client:
        yield client
