"""What is planned for a request, and what a deadline does to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.admission import STEPS
from service.catalog import Catalog
from service.errors import ParameterError
from service.plan import Parameters, plan
from service.settings import Settings
from tests.service.test_predict import PNG, ask, refusal


@pytest.fixture(scope="module")
def catalog(digits_store: Path) -> Iterator[Catalog]:
    """Of the digits; a request may ask for 50 draws."""
    catalog = Catalog(Settings(store=digits_store, max_samples=50))
    yield catalog
    catalog.close()


def test_by_default_an_answer_may_stop_by_itself(catalog: Catalog) -> None:
    """After the level's default number of draws at most, and usually sooner."""
    made = plan(catalog, Parameters(), 0)
    assert made.samples == made.served.level.monte_carlo.draws == 32
    assert made.settlement is not None
    assert made.expected_draws < 32
    made.served.learn(32)
    assert plan(catalog, Parameters(), 0).expected_draws > made.samples / 4


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_number_of_draws_is_exact(catalog: Catalog, step: int) -> None:
    """Whatever the load."""
    made = plan(catalog, Parameters(samples="50"), step)
    assert (made.samples, made.settlement, made.degraded, made.expected_draws) == (50, None, None, 50)


def test_each_step_takes_more_away(catalog: Catalog) -> None:
    """Of what an answer may take by itself."""
    samples = [plan(catalog, Parameters(level="p50"), step).samples for step in range(STEPS + 1)]
    assert samples == sorted(samples, reverse=True)
    assert samples[0] > samples[1] > samples[-1] >= 2


def test_more_draws_than_are_allowed(catalog: Catalog) -> None:
    """The message says how many there may be."""
    with pytest.raises(ParameterError, match="from 1 to 50"):
        plan(catalog, Parameters(samples="51"), 0)


def test_deadline(client: TestClient, example: bytes) -> None:
    """Far enough away it changes nothing; one that no answer can meet is said to have passed."""
    assert ask(client, example, deadline_ms=60_000)["predictions"] == ask(client, example)["predictions"]
    response = client.post("/predict", params={"deadline_ms": 1e-3}, content=example, headers=PNG)
    assert "deadline passed" in refusal(response, 504)
