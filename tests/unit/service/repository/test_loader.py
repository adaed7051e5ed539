"""Versions that cannot be loaded: refused with a reason, while all others serve."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model_store.manifest import SCHEMA_VERSION
from model_store.store import Store
from service.app import create_app
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.restamped import SECOND, alter, change_levels, change_manifest


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("altered", "was altered"),
        ("newer schema", f"schema version {SCHEMA_VERSION + 1}, but this Slimbayes reads up to {SCHEMA_VERSION}"),
        ("no JSON", "is not JSON"),
        ("missing file", "cannot be read"),
        ("other classes", "other images or classes than its manifest"),
        ("other shape", "other images or classes than its manifest"),
        ("other cost", "multiply-adds, its manifest says 7"),
        ("other version's files", "says that its version is"),
        ("rounding", "rounds a tensor 'nothing', which the file does not have"),
    ],
)
def test_a_bad_version_is_refused_and_others_serve(store: Path, example: bytes, damage: str, says: str) -> None:
    """Whatever is wrong with one version, the others answer."""
    if damage == "altered":
        alter(store, "p50")
    elif damage == "newer schema":
        change_manifest(store, schema_version=SCHEMA_VERSION + 1, something_new=True)
    elif damage == "other classes":
        change_manifest(store, classes=["a", "b", "c"])
    elif damage == "other shape":
        change_manifest(store, input={"height": 9, "width": 8, "channels": 1, "resize": "center-crop"})
    elif damage == "other cost":
        change_levels(store, multiply_adds=7)
    elif damage == "other version's files":
        first = store / "digits" / min(Store.open(store).versions("digits"))
        shutil.copytree(first, store / "digits" / SECOND, dirs_exist_ok=True)
        change_manifest(store, version=SECOND)
    elif damage == "rounding":
        change_levels(store, roundings={"nothing": {"scale": 0.1, "zero_point": 0}})
    elif damage == "no JSON":
        (store / "digits" / SECOND / "manifest.json").write_text("{")
    else:
        (store / "digits" / SECOND / "p90" / "model.onnx").unlink()
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["version"] != SECOND
        refused, served = client.get("/models").json()["models"][0]["versions"]
        assert (refused["version"], refused["ready"], served["ready"]) == (SECOND, False, True)
        assert says in refused["refusal"]
        response = client.post(f"/predict?version={SECOND}", content=example, headers=PNG)
        assert says in refusal(response, 404)


def test_production_that_cannot_serve(store: Path, example: bytes) -> None:
    """Nothing unpromoted takes its place: the service is not ready, says why, and answers for named versions."""
    Store.open(store).set_alias("digits", "production", SECOND)
    alter(store, "p50")
    with TestClient(create_app(Settings(store=store))) as client:
        assert client.get("/readyz").status_code == 503
        assert "was altered" in refusal(client.post("/predict", content=example, headers=PNG), 404)
        first = min(Store.open(store).versions("digits"))
        assert ask(client, example, version=first)["version"] == first


def test_a_fallback_has_the_classes_of_production(store: Path, example: bytes) -> None:
    """Otherwise clients would get other labels from one start to the next."""
    Store.open(store).set_alias("digits", "production", SECOND)
    alter(store, "p50")
    with TestClient(create_app(Settings(store=store, production_fallback=True))) as client:
        assert ask(client, example)["version"] != SECOND
    change_manifest(store, classes=list("abcdefghij"))
    with TestClient(create_app(Settings(store=store, production_fallback=True))) as client:
        assert client.get("/readyz").status_code == 503
        assert "was altered" in refusal(client.post("/predict", content=example, headers=PNG), 404)


def test_one_bad_model_stops_no_other(store: Path, example: bytes) -> None:
    """A model with nothing to serve."""
    shutil.copytree(store / "digits" / SECOND, store / "broken" / SECOND)
    (store / "broken" / SECOND / "manifest.json").write_text("{")
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["model"] == "digits"
        assert "no version or alias" in refusal(client.post("/predict?model=broken", content=example, headers=PNG), 404)


def test_altered_after_start(store: Path, example: bytes) -> None:
    """A file that changes while the service runs is refused when it is first needed."""
    with TestClient(create_app(Settings(store=store))) as client:
        alter(store, "p50")
        response = client.post("/predict?level=p50", content=example, headers=PNG)
        assert "did not pass verification" in refusal(response, 404)
        assert ask(client, example, level="p90")["level"] == "p90"
