"""`/v2` without inference: health, metadata, and the repository's index."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model_store.store import Store
from service.app import create_app
from service.settings import Settings
from tests.support.open_inference import refused, tensor
from tests.support.services import wait_until


def test_health(client: TestClient) -> None:
    """In the words of every client."""
    for path in ("live", "ready"):
        assert client.get(f"/v2/health/{path}").json() == {"live": True, "ready": True}


def test_not_ready_before_start(digits_store: Path) -> None:
    """The service is alive; neither it nor its models can answer yet, which is not to say that there are none."""
    client = TestClient(create_app(Settings(store=digits_store)))  # not entered: nothing is warmed
    assert client.get("/v2/health/live").json() == {"live": True, "ready": False}
    for path in ("health/ready", "models/digits/ready"):
        assert "not ready" in refused(client.get(f"/v2/{path}"), 503)
    assert "there is digits" in refused(client.get("/v2/models/cats/ready"), 404)


@pytest.fixture(scope="module")
def two_versions(digits_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service of a version that is in production, and of a newer one whose file was damaged."""
    root = tmp_path_factory.mktemp("stores") / "store"
    shutil.copytree(digits_store, root)
    store = Store.open(root)
    good = store.resolve("digits")
    bad = "20991231-235959-000000"
    shutil.copytree(root / "digits" / good, root / "digits" / bad)
    path = root / "digits" / bad / "manifest.json"
    path.write_text(path.read_text().replace(good, bad))
    (root / "digits" / bad / "p50" / "model.onnx").write_bytes(b"damaged")
    store.set_alias("digits", "production", good)
    with TestClient(create_app(Settings(store=root))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def test_index(two_versions: TestClient) -> None:
    """Every version with its state, or only those that can answer."""
    bad, good = sorted(two_versions.post("/v2/repository/index").json(), key=lambda each: each["state"], reverse=True)
    assert (good["state"], good["reason"]) == ("READY", "")
    assert bad["state"] == "UNAVAILABLE"
    assert bad["reason"]
    assert "/" not in bad["reason"].replace("p50/model.onnx", "")
    assert two_versions.post("/v2/repository/index", json={"ready": False}).json() == [good, bad]
    assert two_versions.post("/v2/repository/index", json={"ready": True}).json() == [good]


def test_aliases_and_refused_versions(two_versions: TestClient) -> None:
    """An alias is as good as a name; a version that failed verification is not there, and the answer says why."""
    good, bad = two_versions.post("/v2/repository/index").json()
    for path in ("models/digits", "models/digits/versions/production"):
        metadata = two_versions.get(f"/v2/{path}").json()
        assert metadata["versions"] == [good["version"]]
        assert metadata["properties"]["version"] == good["version"]
        assert two_versions.get(f"/v2/{path}/ready").json()["version"] == good["version"]
        answer = two_versions.post(f"/v2/{path}/infer", json={"inputs": [tensor()]}).json()
        assert answer["model_version"] == good["version"]
    path = f"/v2/models/digits/versions/{bad['version']}"
    for response in (
        two_versions.get(path),
        two_versions.get(f"{path}/ready"),
        two_versions.post(f"{path}/infer", json={"inputs": [tensor()]}),
    ):
        assert "did not pass verification" in refused(response, 404)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'{"ready": 1}', b'{"redy": true}', b'{"ready": true, "ready": false}']
)
def test_bad_index_requests(client: TestClient, body: bytes) -> None:
    assert refused(client.post("/v2/repository/index", content=body), 400)
