"""`GET /livez` and `GET /readyz`."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


def test_ready_once_warm(client: TestClient) -> None:
    """A warm service is alive and ready."""
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "store": "reachable", "unready": []}


def test_not_ready_before_start(digits_store: Path) -> None:
    """Before its banks are built the service is alive, but not ready."""
    client = TestClient(create_app(Settings(store=digits_store)))  # not entered: nothing is warmed
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json() == {"status": "starting", "store": "reachable", "unready": []}
