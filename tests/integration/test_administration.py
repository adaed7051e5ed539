"""What a key with the role admin may do: promote versions, load and unload models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model_store.store import Store
from service.app import create_app
from service.http.api_keys import Key
from service.settings import Settings
from tests.support.http import PNG, refusal
from tests.support.open_inference import refused
from tests.support.restamped import publish
from tests.support.services import wait_until


@pytest.fixture
def store(digits_store: Path, tmp_path: Path) -> Store:
    """A copy of the store, with one version."""
    shutil.copytree(digits_store, tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Headers of a user and of an administrator."""
    user, admin = Key.make("ann", "user"), Key.make("eve", "admin")
    (tmp_path / "keys").write_text(f"{user[1]}\n{admin[1]}\n")
    return {name: {"Authorization": f"Bearer {text}"} for name, (text, _) in (("user", user), ("admin", admin))}


@pytest.fixture
def client(store: Store, keys: dict[str, Any], tmp_path: Path) -> Iterator[TestClient]:
    """A service with keys, which does not look at its store by itself."""
    app = create_app(Settings(store=store.url, keys_file=tmp_path / "keys", reload_seconds=0))
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def test_promote(client: TestClient, store: Store, keys: dict[str, Any], example: bytes) -> None:
    """An alias names a new version in the store and in the next answer."""
    first, second = max(store.versions("digits")), publish(store, 1)
    for version in (second, first):
        response = client.post("/models/digits/aliases/production", json={"version": version}, headers=keys["admin"])
        assert response.json() == {"model": "digits", "alias": "production", "version": version}
        assert store.aliases("digits") == {"production": version}
        assert store.history("digits")[-1].by == "eve"
        answer = client.post("/predict", content=example, headers=PNG | keys["user"]).json()
        assert answer["version"] == version
    response = client.post("/models/digits/aliases/old", json={"version": "production"}, headers=keys["admin"])
    assert response.json()["version"] == first


def test_who_may_not(client: TestClient, store: Store, keys: dict[str, Any]) -> None:
    """No key, and a key without the role."""
    paths = ["/models/digits/aliases/production", "/v2/repository/models/digits/unload"]
    for path in paths:
        asked = client.post(path, json={"version": "x"})
        assert asked.status_code == 401
        assert client.post(path, json={"version": "x"}, headers=keys["user"]).status_code == 403
    assert store.aliases("digits") == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/models/digits/aliases/production", {"version": "20200101-000000-000000"}, 404, "no version or alias"),
        ("/models/cats/aliases/production", {"version": "production"}, 404, "no model 'cats'"),
        ("/models/digits/aliases/Live%20now", {"version": "VERSION"}, 422, "alias"),
        ("/models/digits/aliases/production", {}, 422, "version"),
        ("/models/digits/aliases/production", {"version": "VERSION", "force": True}, 422, "force"),
    ],
)
def test_what_cannot_be_promoted(
    client: TestClient, store: Store, keys: dict[str, Any], path: str, body: dict[str, Any], status: int, says: str
) -> None:
    """Nothing changes, and the answer says why."""
    body = {name: max(store.versions("digits")) if value == "VERSION" else value for name, value in body.items()}
    assert says in refusal(client.post(path, json=body, headers=keys["admin"]), status)
    assert store.aliases("digits") == {}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [(b"", 422, "version"), (b"{", 400, "not valid JSON"), (b"[]", 422, "object"), (bytes(2000), 413, "1,000")],
)
def test_a_body_that_says_nothing(
    client: TestClient, keys: dict[str, Any], body: bytes, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read of a stranger's, and no more than the limit of anybody's."""
    state = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "settings", state.settings.model_copy(update={"max_body_bytes": 1000}))
    path = "/models/digits/aliases/production"
    assert says in refusal(client.post(path, content=body, headers=keys["admin"]), status)
    assert client.post(path, content=body, headers=keys["user"]).status_code == 403
    assert client.post(path, content=body).status_code == 401


def test_a_version_that_is_refused_is_not_promoted(client: TestClient, store: Store, keys: dict[str, Any]) -> None:
    """Who promotes it is told why."""
    second = publish(store, 1)
    path = Path(store.url) / "digits" / second / "dense" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    response = client.post("/models/digits/aliases/production", json={"version": second}, headers=keys["admin"])
    assert "did not pass verification" in refusal(response, 404)
    assert store.aliases("digits") == {}


def test_a_store_that_cannot_be_written(
    client: TestClient, store: Store, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose store is mounted to be read only."""

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("model_store.storage.local.LocalStorage._write_durably", refuse)
    body = {"version": max(store.versions("digits"))}
    response = client.post("/models/digits/aliases/production", json=body, headers=keys["admin"])
    assert "cannot be changed from here" in refusal(response, 409)


def test_load_and_unload(client: TestClient, store: Store, keys: dict[str, Any], example: bytes) -> None:
    """An unloaded model answers nothing and takes no memory; loaded again it answers with what is new."""
    catalog = client.app.state.service.repository  # type: ignore[attr-defined]
    asked = PNG | keys["user"]
    assert client.post("/predict", content=example, headers=asked).status_code == 200
    assert client.post("/v2/repository/models/digits/unload", headers=keys["admin"]).json() == {}
    wait_until(lambda: catalog.runtime.memory.used == 0)
    assert "no model" in refusal(client.post("/predict", content=example, headers=asked), 404)
    assert "unloaded" in refusal(client.post("/predict?model=digits", content=example, headers=asked), 404)
    assert client.get("/v2/models/digits/ready", headers=keys["user"]).status_code == 404
    (entry,) = client.post("/v2/repository/index", headers=keys["user"]).json()
    assert (entry["state"], "unloaded" in entry["reason"]) == ("UNAVAILABLE", True)
    assert client.get("/models", headers=keys["user"]).json()["models"][0]["versions"][0]["ready"] is False
    for document in ({"parameters": {"config": "{}"}}, {"parameters": {"file:1/model.onnx": ""}}, {"config": "{}"}):
        response = client.post("/v2/repository/models/digits/load", json=document, headers=keys["admin"])
        assert "unknown parameter" in refused(response, 400)
    document = {"parameters": {"unload_dependents": False}}  # as tritonclient sends it
    assert client.post("/v2/repository/models/digits/unload", json=document, headers=keys["admin"]).json() == {}
    second = publish(store, 1)
    assert client.post("/v2/repository/models/digits/load", json={}, headers=keys["admin"]).json() == {}
    assert client.post("/predict", content=example, headers=asked).json()["version"] == second
    assert client.post("/v2/repository/models/cats/load", headers=keys["admin"]).status_code == 404
