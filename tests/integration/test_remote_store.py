"""A store in a bucket of a real S3 server that goes away, is slow, and is read by several services."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from model_store.manifest import Level
from model_store.store import Store
from model_store.transfer import transfer
from service.app import create_app
from service.errors import FetchingError, StartupError
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.backends import Place, in_bucket
from tests.support.http import PNG, ask, metric, refusal
from tests.support.proxy import Proxy
from tests.support.restamped import publish
from tests.support.services import answering, catalog_of, running_service, wait_until
from tests.support.waiting import HANG_S

pytestmark = [pytest.mark.system, pytest.mark.slow]
OFTEN = 0.1


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, digits_store: Path) -> Place:
    """The store of the digits in a bucket, and this process's environment so that it can be reached."""
    place = in_bucket(request)
    reach(place, monkeypatch)
    source = Store.open(digits_store)
    transfer(source, Store.create(place.url), "digits", source.resolve("digits"))
    return place


@pytest.fixture
def store(bucket: Place) -> Store:
    """That store, by no proxy: it connects here, for short and for long requests."""
    opened = Store.open(bucket.url)
    opened.objects.write("digits/notes", b"x" * 2**21)
    return opened


@pytest.fixture
def proxy(store: Store, bucket: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy through which services reach it."""
    with Proxy(bucket.server) as proxy:
        reach(bucket.through(proxy.address), monkeypatch)
        yield proxy


def reach(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def settings(bucket: Place, tmp_path: Path) -> dict[str, Any]:
    """Of a service that looks at its store often."""
    return {"store": bucket.url, "reload_seconds": OFTEN, "cache": tmp_path / "cache"}


@contextmanager
def serving(settings: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(**settings)), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


class Load:
    """Somebody who asks the same all the time, and expects the same answer."""

    def __init__(self, client: TestClient, picture: bytes) -> None:
        self.client, self.picture = client, picture
        self.seconds, self.answers = list[float](), set[str]()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._enough.is_set():
            begun = time.monotonic()
            response = self.client.post("/predict", params={"samples": 4}, content=self.picture, headers=PNG)
            self.seconds.append(time.monotonic() - begun)
            self.answers.add(str(response.json().get("predictions", response.text)))


def cold_levels(store: Store) -> list[Level]:
    """The levels that nobody needs who names none, the largest first."""
    manifest = store.manifest("digits", store.resolve("digits"))
    others = [level for level in manifest.levels if level.name != manifest.default_level]
    return sorted(others, key=lambda level: -level.bytes)


def threads() -> int:
    """How many threads this process has, those of libraries as well."""
    return len(os.listdir("/proc/self/task"))


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_store_goes_away_under_load(store: Store, proxy: Proxy, settings: dict[str, Any], example: bytes) -> None:
    """Every request is answered as before, the service says what is, and follows again by itself."""
    seconds = float(os.environ.get("STORE_AWAY_SECONDS", "4"))
    with serving(settings) as client:
        first = answering(client, example)
        with Load(client, example) as load:
            wait_until(lambda: len(load.seconds) > 20)
            before = threads(), resident()
            proxy.down()
            wait_until(
                lambda: client.get("/readyz").json() == {"status": "ready", "store": "unreachable", "unready": []}
            )
            assert client.get("/status").json()["store"] == "unreachable"
            assert metric(client.get("/metrics").text, "slimbayes_store_reachable") == 0
            second = publish(store, 1)
            store.set_alias("digits", "production", first)
            time.sleep(seconds)
            assert ask(client, example, samples=4)["version"] == first
            proxy.up = True
            wait_until(lambda: client.get("/readyz").json()["store"] == "reachable")
            wait_until(lambda: second in catalog_of(client).models["digits"].versions)
            after = threads(), resident()
        assert len(load.answers) == 1
        assert after[0] <= before[0] + 1  # another worker of the event loop's, at most
        assert after[1] - before[1] < 64 * 2**20
        store.set_alias("digits", "production", second)
        wait_until(lambda: answering(client, example) == second)


def test_a_service_starts_from_its_cache(
    store: Store, bucket: Place, proxy: Proxy, settings: dict[str, Any], example: bytes
) -> None:
    """Store away, answers equal to the last bit; without a cache it does not start, and says why."""
    with serving(settings) as client:
        store.set_alias("digits", "production", store.resolve("digits"))
        wait_until(lambda: catalog_of(client).models["digits"].aliases != {})
        answers = [ask(client, example, level=level)["predictions"] for level in ("dense", "p90")]
    proxy.down()
    with serving(settings) as client:
        assert client.get("/readyz").json() == {"status": "ready", "store": "unreachable", "unready": []}
        assert catalog_of(client).models["digits"].aliases == {"production": store.resolve("digits")}
        assert [ask(client, example, level=level)["predictions"] for level in ("dense", "p90")] == answers
    with pytest.raises(StartupError, match=f"the store at {bucket.url} cannot be reached: it does not answer"):
        create_app(Settings(**settings | {"cache": settings["cache"] / "other"}))


def test_a_store_that_was_away_for_a_moment_refuses_no_version(
    store: Store, proxy: Proxy, settings: dict[str, Any]
) -> None:
    """What could not be read is neither offered nor refused, and is there as soon as it can be."""
    catalog = ModelRepository(Settings(**settings))
    try:
        assert catalog.warm()
        second = publish(store, 1)
        store.set_alias("digits", "production", second)
        # Listings and manifests come through, files of levels do not; of equal content, so nothing is in the cache.
        for path in settings["cache"].glob("*.content"):
            path.unlink()
        proxy.cut()
        proxy.cut_after, proxy.cuts = 16_384, 10**6
        assert catalog.refresh()
        (offered,) = catalog.models["digits"].versions.values()
        assert (offered.refusal, catalog.models["digits"].aliases) == (None, {})
        proxy.cuts = 0
        assert catalog.refresh()
        assert catalog.models["digits"].versions[second].refusal is None
        assert catalog.models["digits"].aliases == {"production": second}
    finally:
        catalog.close()


def test_networks_that_could_not_be_built_are_built_later(store: Store, proxy: Proxy, settings: dict[str, Any]) -> None:
    """The store goes away between verification and the first build, and nothing of it was kept."""
    catalog = ModelRepository(Settings(**settings | {"cache_bytes": 1}))
    try:
        proxy.down()
        assert not catalog.warm()
        assert not catalog.refresh()
        assert catalog.models["digits"].versions[store.resolve("digits")].refusal is None
        proxy.up = True
        assert catalog.refresh()
    finally:
        catalog.close()


def test_a_slow_store_delays_no_request(store: Store, proxy: Proxy, settings: dict[str, Any], example: bytes) -> None:
    """Not while it is looked at and a new version is read, nor while somebody asks for a level that is not here."""
    with serving(settings) as client, Load(client, example) as load:
        first = answering(client, example)
        wait_until(lambda: len(load.seconds) > 20)
        for path in settings["cache"].glob("*.content"):
            path.unlink()
        cold = cold_levels(store)[0]
        proxy.rate = cold.bytes / 3
        asked = len(load.seconds)
        begun = time.monotonic()
        query = {"level": cold.name, "deadline_ms": 300}
        response = client.post("/predict", params=query, content=example, headers=PNG)
        assert "the deadline passed" in refusal(response, 504)
        second = publish(store, 1)
        wait_until(lambda: answering(client, example) == second)
        slow = time.monotonic() - begun
        assert slow > 2, "the store was not slow"
        proxy.rate = None
        assert max(load.seconds[asked:]) < slow / 4, "a request waited for the store"
        assert ask(client, example, level=cold.name, version=first)["version"] == first


def test_a_level_that_does_not_come_in_time(
    store: Store, proxy: Proxy, settings: dict[str, Any], example: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without a deadline waits for it so long, and is told to come again; then it is there."""
    monkeypatch.setattr("service.repository.fetching.MAX_FETCH_S", 0.3)
    with serving(settings | {"cache_bytes": 1, "reload_seconds": 0}) as client:
        slow, away = cold_levels(store)
        proxy.rate = slow.bytes / 3
        response = client.post("/predict", params={"level": slow.name}, content=example, headers=PNG)
        assert "still being read" in refusal(response, 503)
        assert response.headers["retry-after"] == "5"
        proxy.rate = None
        query = {"level": slow.name}
        wait_until(lambda: client.post("/predict", params=query, content=example, headers=PNG).status_code == 200)
        monkeypatch.setattr("service.repository.fetching.MAX_FETCH_S", 30.0)
        proxy.down()
        response = client.post("/predict", params={"level": away.name}, content=example, headers=PNG)
        assert "is unreachable" in refusal(response, FetchingError.status)


def test_two_services_follow_one_store(store: Store, bucket: Place, example: bytes, tmp_path: Path) -> None:
    """Promoted, a version answers from both, with the same bits; they share a cache."""
    first = store.resolve("digits")
    second = publish(store, 1)
    store.set_alias("digits", "production", first)
    flags = ("--reload-seconds", "0.5", "--cache", str(tmp_path / "cache"), "--threads", "1")
    with running_service(bucket.url, *flags) as (one, _), running_service(bucket.url, *flags) as (other, _):

        def answers(**query: Any) -> list[dict[str, Any]]:
            responses = [
                httpx.post(f"{url}/predict", params=query, content=example, headers=PNG, timeout=HANG_S)
                for url in (one, other)
            ]
            return [response.raise_for_status().json() for response in responses]

        assert {answer["version"] for answer in answers()} == {first}
        answers(version=second)  # so that what is waited for is the promotion, not the build of networks
        store.set_alias("digits", "production", second)
        wait_until(lambda: {answer["version"] for answer in answers()} == {second})
        one_says, other_says = answers(samples=64)
        assert one_says["predictions"] == other_says["predictions"]
