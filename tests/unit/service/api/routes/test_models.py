"""`GET /models` and below."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model_store.card import model_card
from model_store.manifest import Level
from model_store.store import Store
from service.arrangement import SIZES
from service.cores import usable_cores
from service.listing import pareto
from tests.support.http import ask, refusal


def test_listing_is_the_manifest(client: TestClient, digits_store: Path) -> None:
    """What is listed is what was published."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    listed = client.get("/models").json()["models"]
    assert [model["name"] for model in listed] == ["digits"]
    version = listed[0]["versions"][0]
    assert (version["version"], version["ready"]) == (manifest.version, True)
    assert version["default_level"] == manifest.default_level
    for level, published in zip(version["levels"], manifest.levels, strict=True):
        for key in ("name", "sparsity", "bytes", "parameters", "multiply_adds"):
            assert level[key] == getattr(published, key)
        assert level["metrics"] == published.metrics.model_dump()


def test_card(client: TestClient, digits_store: Path) -> None:
    """In Markdown, for a version or an alias; 404 for others."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    response = client.get(f"/models/digits/versions/{manifest.version}/card")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert response.text == model_card(manifest)
    assert "no version or alias 'nothing'" in refusal(client.get("/models/digits/versions/nothing/card"), 404)
    assert "no model 'cats'" in refusal(client.get(f"/models/cats/versions/{manifest.version}/card"), 404)


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


def test_arrangement(client: TestClient, example: bytes) -> None:
    """How a level that has answered is computed here."""
    ask(client, example, level="p50")
    levels = client.get("/models/digits").json()["versions"][0]["levels"]
    found = next(level for level in levels if level["name"] == "p50")["arrangement"]
    assert found["draws_per_graph"] in SIZES
    assert 1 <= found["shared_threads"] <= usable_cores()
    assert found["eight_bits"] is False


def test_one_version_with_its_manifest(client: TestClient, digits_store: Path) -> None:
    """The whole manifest is served as it was published."""
    store = Store.open(digits_store)
    version = store.resolve("digits")
    detail = client.get(f"/models/digits/versions/{version}").json()
    assert detail["manifest"] == store.manifest("digits", version).model_dump(mode="json")


@pytest.mark.parametrize("key", ["sparsity", "bytes", "multiply_adds", "accuracy", "nll", "latency"])
def test_filter_and_sort(client: TestClient, example: bytes, key: str) -> None:
    """Levels come in the order asked for, those that never answered last."""
    ask(client, example, level="dense")
    ask(client, example, level="p90")
    for descending in (False, True):
        query = {"model": "digits", "sort": key, "descending": descending}
        levels = client.get("/models", params=query).json()["models"][0]["versions"][0]["levels"]
        values = [
            level["latency_ms"]["p50"] if key == "latency" else (level | level["metrics"])[key] for level in levels
        ]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=descending)
        assert values[: len(known)] == known
    assert "there is digits" in refusal(client.get("/models?model=cats"), 404)
    assert "sort" in refusal(client.get("/models?sort=beauty"), 422)


def test_model_with_its_manifest(client: TestClient, digits_store: Path) -> None:
    """One model comes with the manifest of the version that answers by default."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    assert client.get("/models/digits").json()["manifest"] == manifest.model_dump(mode="json")


def test_unknown_names(client: TestClient) -> None:
    """What there is not is said, and what there is."""
    assert "there is digits" in refusal(client.get("/models/cats"), 404)
    assert "no version or alias" in refusal(client.get("/models/digits/versions/none"), 404)


def test_pareto(digits_store: Path) -> None:
    """A level is off the front exactly when another is as good and as cheap, and better in one."""
    store = Store.open(digits_store)
    one = store.manifest("digits", store.resolve("digits")).levels[0]

    def level(name: str, accuracy: float, multiply_adds: int) -> Level:
        metrics = one.metrics.model_copy(update={"accuracy": accuracy})
        return one.model_copy(update={"name": name, "metrics": metrics, "multiply_adds": multiply_adds})

    levels = [level("a", 0.9, 100), level("b", 0.9, 90), level("c", 0.8, 90), level("d", 0.7, 10), level("e", 0.7, 10)]
    assert pareto(levels) == {"b", "d", "e"}
