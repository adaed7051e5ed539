"""Which level a wish means, and what is said where none fulfils it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ParameterError
from service.pipeline.level_selection import LevelCandidate, LevelConstraints
from tests.support.http import PNG, ask, refusal

LEVELS = {
    "dense": LevelCandidate(0.95, 8.0),
    "p80": LevelCandidate(0.94, 3.0),
    "p95": LevelCandidate(0.90, 1.0),
    "new": LevelCandidate(0.93, None),
}


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (LevelConstraints(min_accuracy=0.93), "p80"),
        (LevelConstraints(min_accuracy=0.95), "dense"),
        (LevelConstraints(min_accuracy=0.0), "p95"),
        (LevelConstraints(max_latency_ms=10), "dense"),
        (LevelConstraints(max_latency_ms=5), "p80"),
        (LevelConstraints(0.92, 5), "p80"),
    ],
)
def test_choice(wish: LevelConstraints, name: str) -> None:
    """The fastest that is accurate enough, or the most accurate that is fast enough."""
    chosen, reason = wish.choose(LEVELS)
    assert chosen == name
    assert f"{LEVELS[name].accuracy:.4f}" in reason


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (LevelConstraints(0.96), "dense has 0.95"),
        (LevelConstraints(None, 0.5), "p95 has"),
        (LevelConstraints(0.94, 2.0), "p80 has"),
    ],
)
def test_impossible(wish: LevelConstraints, says: str) -> None:
    """The message names the level that comes nearest."""
    with pytest.raises(ParameterError, match=says):
        wish.choose(LEVELS)


@given(
    st.dictionaries(st.text(min_size=1), st.builds(LevelCandidate, st.floats(0, 1), st.floats(0.01, 100)), min_size=1),
    st.none() | st.floats(0, 1),
    st.floats(0.01, 100),
)
def test_a_choice_fulfils_the_wish(levels: dict[str, LevelCandidate], accuracy: float | None, latency: float) -> None:
    """And no other level that does is more accurate."""
    fit = [c.accuracy for c in levels.values() if c.accuracy >= (accuracy or 0) and (c.latency_ms or 0) <= latency]
    try:
        name, _ = LevelConstraints(accuracy, latency).choose(levels)
    except ParameterError:
        assert not fit
    else:
        assert levels[name].accuracy == max(fit)


def test_over_http(client: TestClient, example: bytes) -> None:
    """Level auto with wishes answers from one that has what was asked for, and says why."""
    ask(client, example, level="p90")
    answer = ask(client, example, level="auto", max_latency_ms=10_000)
    accuracies = {level["name"]: level["metrics"]["accuracy"] for level in _levels(client)}
    known = ("p90", "dense", "p50")
    assert accuracies[answer["level"]] >= accuracies["p90"]
    assert answer["level"] in known
    assert "most accurate level that answers within 10000 ms" in answer["level_reason"]
    assert ask(client, example, level="auto", min_accuracy=0.01)["level_reason"].startswith("the fastest level")
    assert ask(client, example)["level_reason"] is None


def test_bad_wishes(client: TestClient, example: bytes) -> None:
    """Beside a named level, or beyond every level."""
    for query, says in (
        ({"level": "p50", "min_accuracy": 0.1}, "ask for level=auto"),
        ({"level": "auto", "max_latency_ms": 1e-6}, "no level answers within"),
        ({"level": "auto", "min_accuracy": 1.0}, "no level has an accuracy of 1"),
        ({"deadline_ms": 0}, "deadline_ms"),
    ):
        assert says in refusal(client.post("/predict", params=query, content=example, headers=PNG), 422)


def _levels(client: TestClient) -> list[dict]:
    return client.get("/models/digits").json()["versions"][0]["levels"]
