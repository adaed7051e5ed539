"""What is listed of models: what was published, and what requests have shown since."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from model_store.manifest import Level
from model_store.store import Store
from service.api.listing import pareto
from service.inference.autotune import SIZES
from service.resources import usable_cores
from tests.support.http import ask


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
        assert tuple(level["accuracy_interval"]) == published.metrics.accuracy_interval
        assert level["metrics"]["test_images"] == 359
        assert (level["calibration_images"], level["missing_sets"]) == (published.calibration.images, {})


def test_arrangement(client: TestClient, example: bytes) -> None:
    """How a level that has answered is computed here."""
    ask(client, example, level="p50")
    levels = client.get("/models/digits").json()["versions"][0]["levels"]
    found = next(level for level in levels if level["name"] == "p50")["arrangement"]
    assert found["draws_per_graph"] in SIZES
    assert 1 <= found["shared_threads"] <= usable_cores()
    assert found["eight_bits"] is False


def test_pareto(digits_store: Path) -> None:
    """A level is off the front exactly when another is as good and as cheap, and better in one."""
    store = Store.open(digits_store)
    one = store.manifest("digits", store.resolve("digits")).levels[0]

    def level(name: str, accuracy: float, multiply_adds: int) -> Level:
        metrics = one.metrics.model_copy(update={"accuracy": accuracy})
        return one.model_copy(update={"name": name, "metrics": metrics, "multiply_adds": multiply_adds})

    levels = [level("a", 0.9, 100), level("b", 0.9, 90), level("c", 0.8, 90), level("d", 0.7, 10), level("e", 0.7, 10)]
    assert pareto(levels) == {"b", "d", "e"}
