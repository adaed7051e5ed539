"""Statistics of a level: its latency counts its requests."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.http import ask


def test_latency_counts_requests(client: TestClient, example: bytes) -> None:
    """The latency that a level has seen grows with its requests."""

    def seen() -> dict[str, float]:
        levels = client.get("/models/digits").json()["versions"][0]["levels"]
        return {level["name"]: level["latency_ms"] for level in levels}["p50"]

    before = seen()["count"]
    for _ in range(3):
        ask(client, example, level="p50")
    after = seen()
    assert after["count"] == before + 3
    assert 0 < after["p50"] <= after["p95"]
