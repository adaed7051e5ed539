"""The bound on waiting work, and what a client is told who comes too late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.admission import Admission
from service.app import create_app
from service.errors import OverloadedError
from service.settings import Settings
from tests.service.test_predict import PNG, ask, refusal


def test_work_is_bounded() -> None:
    """As much as the limit, no more; what is done makes room, also when it failed."""
    admission = Admission(10)
    with admission.admit(6), admission.admit(4):
        with pytest.raises(OverloadedError), admission.admit(1):
            pass
        assert admission.waiting == 10
    with pytest.raises(ZeroDivisionError), admission.admit(3):
        raise ZeroDivisionError
    assert admission.waiting == 0


def test_a_request_larger_than_the_limit_is_admitted_alone() -> None:
    """Otherwise nobody could ever answer it."""
    admission = Admission(10)
    with admission.admit(50), pytest.raises(OverloadedError), admission.admit(1):
        pass
    with admission.admit(1), pytest.raises(OverloadedError), admission.admit(50):
        pass


@pytest.fixture
def full(digits_store: Path) -> Iterator[TestClient]:
    """A service whose queue is taken."""
    app = create_app(Settings(store=digits_store, max_queue=1))
    with TestClient(app) as client, app.state.admission.admit(1):
        yield client


def test_full_queue(full: TestClient, example: bytes) -> None:
    """503, and when to come back in whole seconds; health and the listing are not affected."""
    response = full.post("/predict", content=example, headers=PNG)
    assert "try again in" in refusal(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    assert full.get("/livez").status_code == 200
    assert full.get("/models").status_code == 200


def test_afterwards_it_answers(digits_store: Path, example: bytes) -> None:
    """Once the work is done there is room again."""
    app = create_app(Settings(store=digits_store, max_queue=1))
    with TestClient(app) as client:
        with app.state.admission.admit(1):
            assert client.post("/predict", content=example, headers=PNG).status_code == 503
        assert ask(client, example)["predictions"]
