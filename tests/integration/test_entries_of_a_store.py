"""Entries of a store that cannot be served: each is refused alone, with its reason, at start as while running."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model_store.errors import StoreUnavailableError
from model_store.listing import ModelListing
from model_store.store import Store
from service.app import create_app
from service.settings import Settings
from tests.support.http import PNG, metric, refusal
from tests.support.images import png
from tests.support.services import Warm, catalog_of, wait_until
from tests.support.tiny_levels import FIRST, SECOND, publish_tiny
from tests.support.waiting import HANG_S

PICTURE = png(np.zeros((8, 8, 3), np.uint8))
RELOAD_S = 0.05
Evil = Callable[[Path], object]


def answer(client: TestClient, model: str) -> str:
    """The version that answers for a model."""
    response = client.post("/predict", params={"model": model}, content=PICTURE, headers=PNG)
    assert response.status_code == 200, response.text
    version: str = response.json()["version"]
    return version


def break_level(store: Path, model: str, version: str) -> None:
    """Change the last byte of a level's file."""
    file = store / model / version / "a" / "model.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def deep_folder(store: Path) -> None:
    """A model of folders in folders, more than can be listed by recursion."""
    (store / "evil").mkdir()
    folder = os.open(store / "evil", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=folder)
        inner = os.open("a", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


def huge_manifest(store: Path) -> None:
    (publish_tiny(store, "evil") / "manifest.json").write_bytes(b"{" + b" " * 2**22 + b"}")


def manifest_of_itself(store: Path) -> None:
    folder = publish_tiny(store, "evil")
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("manifest.json")


def missing_level(store: Path) -> None:
    shutil.rmtree(publish_tiny(store, "evil", levels=("a", "b")) / "b")


def compute_bomb(store: Path) -> None:
    publish_tiny(store, "evil", side=256, channels=64, convolutions=400)


EVILS: dict[str, Evil] = {
    "deep folder": deep_folder,
    "huge manifest": huge_manifest,
    "manifest that is a link to itself": manifest_of_itself,
    "level without a file": missing_level,
    "compute bomb": compute_bomb,
}


@pytest.fixture(params=EVILS)
def evil(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Evil]:
    yield EVILS[request.param]
    while (tmp_path / "evil" / "a").exists():  # what lies so deep, the tests' own cleaning cannot remove
        inner = tmp_path / "evil" / "a" / "a"
        if inner.exists():
            inner.rename(tmp_path / "evil" / "next")
        (tmp_path / "evil" / "a").rmdir()
        if (tmp_path / "evil" / "next").exists():
            (tmp_path / "evil" / "next").rename(tmp_path / "evil" / "a")


def test_an_evil_entry_fails_alone_at_start_and_while_running(tmp_path: Path, evil: Evil) -> None:
    """The other model answers, and is followed."""
    publish_tiny(tmp_path, "good")
    evil(tmp_path)
    with Warm(tmp_path, default_model="good", reload_seconds=RELOAD_S) as client:
        assert answer(client, "good") == FIRST
        publish_tiny(tmp_path, "good", SECOND)
        wait_until(lambda: answer(client, "good") == SECOND)


def test_an_unreadable_model_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed with its reason, named by readiness, and answers once it can be read; loaded ones stay."""
    publish_tiny(tmp_path, "good")
    publish_tiny(tmp_path, "shut")
    listing, shut = Store.listing, threading.Event()
    shut.set()

    def guarded(self: Store, model: str) -> ModelListing:
        if model == "shut" and shut.is_set():
            raise StoreUnavailableError("model shut cannot be read: Permission denied")
        return listing(self, model)

    monkeypatch.setattr(Store, "listing", guarded)  # as root, who runs tests, may read all files
    with Warm(tmp_path, reload_seconds=RELOAD_S) as client:
        assert answer(client, "good") == FIRST
        response = client.post("/predict?model=shut", content=PICTURE, headers=PNG)
        assert "Permission denied" in refusal(response, 503)
        assert client.get("/readyz").json()["unready"] == ["shut"]
        assert "Permission denied" in client.get("/status").json()["problems"]["shut"]
        assert metric(client.get("/metrics").text, "slimbayes_model_problem", model="shut") == 1
        listed = {model["name"]: model["refusal"] for model in client.get("/models").json()["models"]}
        assert listed["good"] is None
        assert "Permission denied" in listed["shut"]
        shut.clear()
        wait_until(lambda: client.get("/readyz").json()["unready"] == [])
        assert answer(client, "shut") == FIRST
        shut.set()
        publish_tiny(tmp_path, "good", SECOND)
        wait_until(lambda: answer(client, "good") == SECOND)
        assert answer(client, "shut") == FIRST


def test_a_stuck_read_holds_up_no_other_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At start as while running, and not the end of the service."""
    publish_tiny(tmp_path, "good")
    publish_tiny(tmp_path, "stuck")
    read, released = Store.read_level, threading.Event()

    def slow(self: Store, manifest: object, level: str) -> bytes:
        if getattr(manifest, "model", None) == "stuck":
            released.wait(HANG_S)
        return read(self, manifest, level)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read_level", slow)
    monkeypatch.setattr("service.repository.repository.MAX_ENTRY_S", 0.5)
    with Warm(tmp_path, reload_seconds=RELOAD_S) as client:
        assert answer(client, "good") == FIRST
        publish_tiny(tmp_path, "good", SECOND)
        wait_until(lambda: answer(client, "good") == SECOND)
        released.set()
        wait_until(lambda: "stuck" in catalog_of(client).models)
        assert answer(client, "stuck") == FIRST


def test_a_level_that_computes_for_ever_is_refused_in_time(tmp_path: Path) -> None:
    """With its reason and not tried again at once, while the other model answers and is followed."""
    publish_tiny(tmp_path, "good")
    compute_bomb(tmp_path)
    settings = {"max_level_gmacs": 10_000, "max_build_seconds": 1.0, "default_model": "good"}
    with Warm(tmp_path, reload_seconds=RELOAD_S, **settings) as client:
        assert answer(client, "good") == FIRST
        shape = png(np.zeros((256, 256, 3), np.uint8))
        response = client.post("/predict?model=evil", content=shape, headers=PNG)
        assert "not built and tried within 1 s" in refusal(response, 404)
        level = catalog_of(client).model("evil").version(None).level("a")
        assert level.builds == 0
        assert "not built and tried" in client.get("/status").json()["problems"]["evil"]
        publish_tiny(tmp_path, "good", SECOND)
        wait_until(lambda: answer(client, "good") == SECOND)


def test_compute_bombs_are_refused_by_what_the_file_takes(tmp_path: Path) -> None:
    """Whatever its manifest says: the reason names the bound."""
    publish_tiny(tmp_path, "good")
    compute_bomb(tmp_path)
    with TestClient(create_app(Settings(store=tmp_path, default_model="good"))) as client:
        response = client.post("/predict?model=evil&version=" + FIRST, content=PICTURE, headers=PNG)
        assert "billion operations for one draw of one image, more than the 50 billion" in refusal(response, 404)


def test_an_emptied_mount_is_unreachable(tmp_path: Path) -> None:
    """Loaded models stay, until their volume is back; models that are deleted from it are gone."""
    store, away = tmp_path / "store", tmp_path / "away"
    publish_tiny(store, "good")
    with Warm(store, reload_seconds=RELOAD_S) as client:
        store.rename(away)
        store.mkdir()
        wait_until(lambda: client.get("/readyz").json()["store"] == "unreachable")
        assert answer(client, "good") == FIRST
        store.rmdir()
        away.rename(store)
        wait_until(lambda: client.get("/readyz").json()["store"] == "reachable")
        Store.open(store).delete("good", FIRST)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert client.get("/models").json() == {"models": []}


def test_broken_production_at_start_falls_back_only_where_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Then loudly; else its model does not answer, and all others do."""
    for version in (FIRST, SECOND):
        publish_tiny(tmp_path, "tiny", version)
    publish_tiny(tmp_path, "good")
    Store.open(tmp_path).set_alias("tiny", "production", SECOND)
    break_level(tmp_path, "tiny", SECOND)
    with Warm(tmp_path, reload_seconds=RELOAD_S) as client:
        assert answer(client, "good") == FIRST
        assert "was altered" in refusal(client.post("/predict?model=tiny", content=PICTURE, headers=PNG), 404)
        assert client.get("/readyz").json()["unready"] == ["tiny"]
    with caplog.at_level(logging.ERROR), Warm(tmp_path, production_fallback=True, reload_seconds=RELOAD_S) as client:
        assert answer(client, "tiny") == FIRST
        assert "20261101-000000-aaaaaa answers instead" in caplog.text
        catalog_of(client).refresh()
        assert answer(client, "tiny") == FIRST
        assert client.get("/readyz").json()["unready"] == ["tiny"]
        assert SECOND in client.get("/status").json()["problems"]["tiny"]
        assert metric(client.get("/metrics").text, "slimbayes_model_problem", model="tiny") == 1
