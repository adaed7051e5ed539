"""Damaged pictures over HTTP: whatever the damage, an answer or a refusal in words."""

from __future__ import annotations

from fastapi.testclient import TestClient

from benchmarks.serving.fuzz import mutants, originals


def test_damaged_pictures(client: TestClient) -> None:
    """200 or 422; 415 where not even the format is left, 413 where the size grew."""
    statuses = set()
    for kind, data in mutants(originals(), seed=1, count=600):
        response = client.post("/predict", params={"samples": 1}, content=data, headers={"content-type": kind})
        assert response.status_code in (200, 413, 415, 422), response.text
        assert response.status_code == 200 or response.json()["detail"].startswith("image 0")
        statuses.add(response.status_code)
    assert {200, 422} <= statuses
