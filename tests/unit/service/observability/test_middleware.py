"""How requests end that no route ends: by errors that nobody foresaw, and by clients that left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.inference.engine import Engine
from tests.support.http import PNG, metric, requests
from tests.support.services import default_level, running_service, wait_until


def test_unforeseen_errors(fresh: TestClient, example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong here is a failure, not a refusal."""

    def fail(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Engine, "run", fail)
    assert fresh.post("/predict", content=example, headers=PNG).status_code == 500
    assert requests(fresh, outcome="failed", status="500", level=default_level(fresh)) == 1


def test_a_client_that_left(digits_store: Path, example: bytes) -> None:
    """It has no status, and was not answered."""
    with running_service(digits_store, "--max-samples", "2048", "--threads", "1") as (url, _):
        files = [("images", (f"{number}.png", example)) for number in range(32)]
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/predict", params={"samples": "2048"}, files=files, timeout=0.5)

        def left() -> bool:
            text = httpx.get(f"{url}/metrics").text
            return metric(text, "slimbayes_requests_total", outcome="abandoned", status="", route="/predict") == 1

        wait_until(left)
        assert metric(httpx.get(f"{url}/metrics").text, "slimbayes_images_total") == 0
