"""`GET /models` and below."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model_store.reports.card import model_card
from model_store.store import Store
from tests.support.http import ask, refusal


def test_card(client: TestClient, digits_store: Path) -> None:
    """In Markdown, for a version or an alias; 404 for others."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    response = client.get(f"/models/digits/versions/{manifest.version}/card")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert response.text == model_card(manifest)
    assert "no version or alias 'nothing'" in refusal(client.get("/models/digits/versions/nothing/card"), 404)
    assert "no model 'cats'" in refusal(client.get(f"/models/cats/versions/{manifest.version}/card"), 404)


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
