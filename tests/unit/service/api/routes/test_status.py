"""`GET /status`: load, and each level that answered."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.http import PNG
from tests.support.images import NOISE
from tests.support.services import wait_until


def test_status(fresh: TestClient, example: bytes) -> None:
    """Load, and each level that answered, with its abstentions."""
    assert fresh.get("/status").json() == {
        "load": {"queued": 0, "capacity": 65_536, "step": 0, "answered_per_second": 0.0},
        "store": "reachable",
        "problems": {},
        "held_back": {},
        "levels": [],
    }
    fresh.post("/predict", params={"level": "dense"}, content=example, headers=PNG)
    answer = fresh.post("/predict", files=[("images", ("a", NOISE)), ("images", ("b", example))]).json()
    abstained = sum(each["decision"] == "abstain" for each in answer["predictions"])
    levels = {each["level"]: each for each in fresh.get("/status").json()["levels"]}
    assert levels.keys() == {"dense", answer["level"]}
    assert (levels[answer["level"]]["answered"], levels[answer["level"]]["abstained"]) == (2, abstained)
    assert (levels["dense"]["answered"], levels["dense"]["drift"]["count"]) == (1, 1)
    wait_until(lambda: fresh.get("/status").json()["load"]["answered_per_second"] == 0.3)
