"""Who may ask what: without a key, with one, with one of the role admin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

from service.api.dependencies import Admin
from service.app import create_app
from service.http.api_keys import Key
from service.settings import Settings
from tests.support.http import PNG, refusal

# Without a key: how it is, and how to ask.
OPEN = {"/livez", "/readyz", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}

privileged = APIRouter()


@privileged.post("/privileged")
async def privilege(request: Request, who: Admin) -> list[str]:
    return [who.name, request.state.caller]


def app_with(settings: Settings) -> FastAPI:
    """A service that also has a route for administration."""
    app = create_app(settings)
    app.include_router(privileged)
    return app


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key of each role, and the file."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    made = {name: Key.make(name, role) for name, role in (("ann", "user"), ("ops", "admin"))}  # type: ignore[arg-type]
    file.write_text("\n".join(str(line) for _, line in made.values()))
    return {"file": str(file)} | {name: key for name, (key, _) in made.items()}


@pytest.fixture(scope="module")
def locked(digits_store: Path, keys: dict[str, str]) -> Iterator[TestClient]:
    """A service that asks for keys."""
    settings = Settings(store=digits_store, keys_file=Path(keys["file"]), metrics_key=True)
    with TestClient(app_with(settings), raise_server_exceptions=False) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_other_path_asks_for_a_key(locked: TestClient) -> None:
    """Before anything else is looked at: a route that somebody adds and forgets would be found here."""
    paths = locked.get("/openapi.json").json()["paths"]
    closed = {(method, path) for path, methods in paths.items() for method in methods if path not in OPEN}
    assert {("post", "/predict"), ("get", "/models"), ("post", "/privileged"), ("get", "/metrics")} <= closed
    for method, path in closed:
        response = locked.request(method, path, params={"model": "no such model"})
        assert response.status_code == 401, path
        said = response.json()["error"] if path.startswith("/v2") else refusal(response, 401)
        assert "needs a key" in said, path
        assert response.headers["www-authenticate"] == 'Bearer realm="slimbayes"'


def test_open_paths(locked: TestClient) -> None:
    for path in OPEN:
        assert locked.get(path).status_code in (200, 503)


def test_both_ways_to_send_a_key(locked: TestClient, keys: dict[str, str]) -> None:
    for headers in (bearer(keys["ann"]), {"X-API-Key": keys["ann"]}, {"Authorization": f"bearer {keys['ann']}"}):
        assert locked.get("/models", headers=headers).status_code == 200
    both = {"Authorization": "Basic YTpi", "X-API-Key": keys["ann"]}  # the first is for somebody before us
    assert locked.get("/models", headers=both).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [bearer("slimbayes_wrong"), {"X-API-Key": "wrong"}, {"Authorization": b"Bearer \xc3\xa9"}],
)
def test_wrong_keys(locked: TestClient, headers: dict[str, Any]) -> None:
    response = locked.get("/models", headers=headers)
    assert "unknown to this service" in refusal(response, 401)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_keys_in_the_query_are_none(locked: TestClient, keys: dict[str, str]) -> None:
    """A key in an address would be in every log on its way."""
    assert refusal(locked.get("/models", params={"key": keys["ann"], "api_key": keys["ann"]}), 401)


def test_roles(locked: TestClient, keys: dict[str, str]) -> None:
    """The role admin may what others may not."""
    assert "which ann does not have" in refusal(locked.post("/privileged", headers=bearer(keys["ann"])), 403)
    assert locked.post("/privileged", headers=bearer(keys["ops"])).json() == ["ops", "ops"]
    assert locked.get("/models", headers=bearer(keys["ops"])).status_code == 200
    assert locked.get("/metrics", headers=bearer(keys["ann"])).status_code == 200


def test_without_keys(digits_store: Path, example: bytes) -> None:
    """Everybody may ask, and nobody may administrate."""
    with TestClient(app_with(Settings(store=digits_store))) as client:
        assert client.post("/predict", content=example, headers=PNG).status_code == 200
        assert client.get("/metrics").status_code == 200
        assert "this service has no keys" in refusal(client.post("/privileged"), 403)
        assert "security" not in client.get("/openapi.json").text


def test_the_document_says_how(locked: TestClient) -> None:
    """Both ways, at each path that needs a key, and the refusal."""
    document = locked.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    operation = document["paths"]["/predict"]["post"]
    assert {name for way in operation["security"] for name in way} == {"bearer", "header"}
    assert {"401", "429"} <= operation["responses"].keys()
    assert "security" not in document["paths"]["/livez"]["get"]
