"""The store changes while the service runs: what is new is verified and built before it answers, and nothing fails."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model_store.store import Store
from service.app import create_app
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.restamped import publish, renamed
from tests.support.services import answering, catalog_of, wait_until

OFTEN = 0.05


@pytest.fixture
def store(digits_store: Path, tmp_path: Path) -> Store:
    """A copy of the store, with one version."""
    shutil.copytree(digits_store, tmp_path / "store")
    return Store.open(tmp_path / "store")


@contextmanager
def serving(store: Store, **settings: Any) -> Iterator[TestClient]:
    """A service in this process that looks at its store often."""
    app = create_app(Settings(store=store.url, reload_seconds=OFTEN, **settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_new_version_answers_without_a_restart(store: Store, example: bytes) -> None:
    """Without an alias the newest answers; its networks are there before it does, those of the old one go."""
    with serving(store) as client:
        first = answering(client, example)
        second = publish(store, 1)
        wait_until(lambda: answering(client, example) == second)
        model = catalog_of(client).models["digits"]
        old, new = (model.versions[name].default for name in (first, second))
        assert old is not None
        assert new is not None
        assert new.ready(new.default_samples)
        wait_until(lambda: old.bank is None)
        assert ask(client, example, version=first)["version"] == first


def test_aliases_switch(store: Store, example: bytes) -> None:
    """To and fro, between two requests; the listing says so too."""
    with serving(store) as client:
        first = answering(client, example)
        second = publish(store, 1)

        def listed() -> dict[str, list[str]]:
            (model,) = client.get("/models").json()["models"]
            return {each["version"]: each["aliases"] for each in model["versions"]}

        for version in (first, second, first):
            store.set_alias("digits", "production", version)
            wait_until(lambda version=version: listed().get(version) == ["production"])
            assert answering(client, example) == version


def publish_other(store: Store, number: int, classes: Sequence[str]) -> str:
    """A version as by `publish`, with other classes."""
    manifest = store.manifest("digits", min(store.versions("digits")))
    files = {level.name: store.read_level(manifest, level.name) for level in manifest.levels}
    version = f"20300101-000000-{number:06x}"
    changed, stamped = renamed(manifest, files, version=version)
    store.publish(changed.model_copy(update={"classes": tuple(classes)}), stamped, new_classes=True)
    return version


def test_other_classes_wait_for_a_person(store: Store, example: bytes) -> None:
    """What answered goes on, with its own newer versions; status and metrics say why, and an alias switches."""
    letters = "abcdefghij"
    with serving(store) as client:
        answering(client, example)
        other = publish_other(store, 1, letters)
        wait_until(lambda: other in catalog_of(client).models["digits"].versions)
        assert ask(client, example)["predictions"][0]["label"].isdigit()
        assert ask(client, example, version=other)["predictions"][0]["label"] in letters
        same = publish(store, 2)
        wait_until(lambda: answering(client, example) == same)
        newest = publish_other(store, 3, letters)
        wait_until(lambda: newest in client.get("/status").json()["held_back"].get("digits", ""))
        assert (
            f"{same} answers on until a person points production" in client.get("/status").json()["held_back"]["digits"]
        )
        assert 'slimbayes_model_held_back{model="digits"} 1.0' in client.get("/metrics").text
        assert client.get("/readyz").status_code == 200
        store.set_alias("digits", "production", newest)
        wait_until(lambda: answering(client, example) == newest)
        assert client.get("/status").json()["held_back"] == {}
        store.remove_alias("digits", "production")
        wait_until(lambda: catalog_of(client).models["digits"].aliases == {})
        assert answering(client, example) == newest
    with serving(store) as client:  # a start is a person's act
        assert answering(client, example) == newest


def test_classes_that_are_gone_hold_nothing_back(store: Store, example: bytes) -> None:
    with serving(store) as client:
        first = answering(client, example)
        other = publish_other(store, 1, "abcdefghij")
        wait_until(lambda: other in catalog_of(client).models["digits"].versions)
        assert answering(client, example) == first
        store.delete("digits", first)
        wait_until(lambda: answering(client, example) == other)
        assert client.get("/status").json()["held_back"] == {}


def test_an_alias_to_what_cannot_be_served_stays(store: Store, example: bytes) -> None:
    """What answered goes on answering; the bad version says why it is refused."""
    with serving(store) as client:
        first = answering(client, example)
        store.set_alias("digits", "production", first)
        wait_until(lambda: catalog_of(client).models["digits"].aliases == {"production": first})
        digits = Path(store.url) / "digits"
        aside = Path(store.url).with_name("aside")  # so that nobody sees it before it is bad
        shutil.copytree(store.url, aside)
        second = publish(Store.open(aside), 1)
        path = aside / "digits" / second / "dense" / "model.onnx"
        path.write_bytes(path.read_bytes()[:-1])
        path.parents[1].rename(digits / second)
        store.set_alias("digits", "production", second)
        wait_until(lambda: second in catalog_of(client).models["digits"].versions)
        assert answering(client, example) == first
        response = client.post(f"/predict?version={second}", content=example, headers=PNG)
        assert "did not pass verification" in refusal(response, 404)
        store.set_alias("digits", "candidate", second)
        assert catalog_of(client).refresh()
        assert catalog_of(client).models["digits"].aliases == {"production": first}


def test_what_goes_is_gone(store: Store, example: bytes) -> None:
    """A version that is removed, and then the model."""
    with serving(store) as client:
        first = answering(client, example)
        second = publish(store, 1)
        wait_until(lambda: answering(client, example) == second)
        shutil.rmtree(Path(store.url) / "digits" / second)
        wait_until(lambda: answering(client, example) == first)
        assert "no version" in refusal(client.post(f"/predict?version={second}", content=example, headers=PNG), 404)
        store.delete("digits", first)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert "no model" in refusal(client.post("/predict", content=example, headers=PNG), 404)
        assert client.get("/models").json() == {"models": []}


def test_a_store_that_is_away(store: Store, example: bytes) -> None:
    """The service answers on, and follows again when the store is back."""
    with serving(store) as client:
        first = answering(client, example)
        away = Path(store.url).with_name("away")
        Path(store.url).rename(away)
        catalog_of(client).refresh()
        assert answering(client, example) == first
        assert client.get("/readyz").status_code == 200
        away.rename(Path(store.url))
        second = publish(store, 1)
        wait_until(lambda: answering(client, example) == second)


def test_a_store_that_goes_away_while_it_is_read(store: Store, example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not lost its models."""
    with serving(store) as client:
        first, catalog = answering(client, example), catalog_of(client)
        away, names = Path(store.url).with_name("away"), catalog.store.names

        def names_and_away() -> list[str]:
            found = names()
            if Path(store.url).exists():
                Path(store.url).rename(away)
            return found

        monkeypatch.setattr(catalog.store, "names", names_and_away)
        assert catalog.refresh()
        assert catalog.unavailable_reason is not None
        assert answering(client, example) == first


def test_an_empty_store(tmp_path: Path, store: Store, example: bytes) -> None:
    """With `allow_empty` it starts, is not ready, and answers once there is something."""
    (tmp_path / "empty").mkdir()
    with serving(Store.open(tmp_path / "empty"), allow_empty=True) as client:
        assert client.get("/readyz").json() == {"status": "starting", "store": "reachable", "unready": []}
        assert "publish one first" in refusal(client.post("/predict", content=example, headers=PNG), 404)
        shutil.copytree(Path(store.url) / "digits", tmp_path / "empty" / "digits")
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert answering(client, example) in store.versions("digits")


def test_the_log_says_it_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """However often the store is looked at."""
    with serving(store) as client:
        store.set_alias("digits", "production", publish(store, 1))
        away = Path(store.url).with_name("away")
        Path(store.url).rename(away)
        for _ in range(3):
            catalog_of(client).refresh()
        away.rename(Path(store.url))
    said = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert len(said) == 1


@pytest.mark.slow
def test_many_versions_under_load(store: Store, example: bytes) -> None:
    """Six versions published and promoted one after the other: each answer is whole, and of one version."""
    expected: dict[str, Any] = {}
    found: list[tuple[str, Any]] = []
    failed: list[str] = []
    over = threading.Event()

    with serving(store) as client:

        def load() -> None:
            while not over.is_set():
                response = client.post("/predict?samples=4", content=example, headers=PNG)
                answer = response.json()
                if response.status_code != 200:
                    failed.append(response.text)
                else:
                    found.append((answer["version"], answer["predictions"]))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(6):
                version = publish(store, number)
                store.set_alias("digits", "production", version)
                wait_until(lambda version=version: answering(client, example) == version)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        for version in {version for version, _ in found}:
            expected[version] = ask(client, example, version=version, samples=4)["predictions"]
    assert failed == []
    assert len(expected) >= 5
    assert len({str(answer) for answer in expected.values()}) == len(expected)
    for version, predictions in found:
        assert predictions == expected[version]
