"""What is planned for a request, and what a deadline does to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.errors import ParameterError
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import degrade_to_fit, make_plan
from service.repository.repository import ModelRepository
from service.scheduling.admission import Admission
from service.settings import Settings
from tests.support.http import PNG, ask, refusal


@pytest.fixture(scope="module")
def catalog(digits_store: Path) -> Iterator[ModelRepository]:
    """Of the digits; a request may ask for 50 draws."""
    catalog = ModelRepository(Settings(store=digits_store, max_samples=50))
    yield catalog
    catalog.close()


def test_by_default_an_answer_may_stop_by_itself(catalog: ModelRepository) -> None:
    """After the level's default number of draws at most, and usually sooner."""
    made = make_plan(catalog, PredictQuery())
    assert made.samples == made.level.level.monte_carlo.draws == 32
    assert made.early_stopping is not None
    assert made.expected_draws < 32
    made.level.record_draws(32)
    assert make_plan(catalog, PredictQuery()).expected_draws > made.samples / 4


def test_what_a_request_names_it_gets(catalog: ModelRepository) -> None:
    """Whatever the load; of what an answer may take by itself each step takes more away."""
    admission = Admission(10**6, 1.0, degrade=True)
    exact, free = PredictQuery(samples="50"), PredictQuery(level="p50")
    full = make_plan(catalog, free)
    full.level.engine(full.samples)
    with admission.admit(1, 60.0):
        made = degrade_to_fit(make_plan(catalog, exact), 1, admission)
        assert (made.samples, made.early_stopping, made.degradation, made.expected_draws) == (50, None, None, 50)
        samples = []
        for slowness in np.geomspace(1.0, 1e6, 60):
            admission.latency.slope = float(slowness)
            made = degrade_to_fit(full, 1, admission)
            assert made.level is full.level
            samples.append(made.samples)
    assert samples == sorted(samples, reverse=True)
    assert (samples[0], samples[-1]) == (32, 2)
    assert degrade_to_fit(full, 1, admission) is full


def test_more_draws_than_are_allowed(catalog: ModelRepository) -> None:
    """The message says how many there may be."""
    with pytest.raises(ParameterError, match="from 1 to 50"):
        make_plan(catalog, PredictQuery(samples="51"))


def test_deadline(client: TestClient, example: bytes) -> None:
    """Far enough away it changes nothing; one that no answer can meet is said to have passed."""
    assert ask(client, example, deadline_ms=60_000)["predictions"] == ask(client, example)["predictions"]
    response = client.post("/predict", params={"deadline_ms": 1e-3}, content=example, headers=PNG)
    assert "deadline passed" in refusal(response, 504)
