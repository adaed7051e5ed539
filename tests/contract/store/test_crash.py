"""What a store keeps of its word when publishers race, die or lose their connection.

STORE_KILLS=200 in the environment kills and cuts so often on a server too.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from itertools import count

import pytest

from model_store.errors import StoreUnavailableError, VersionExistsError
from model_store.maintenance import collect_garbage
from model_store.manifest import Manifest
from model_store.store import Store
from tests.support.backends import SERVERS, Place
from tests.support.children import child
from tests.support.proxy import Proxy
from tests.support.stores import NOON, build_version
from tests.support.waiting import HANG_S

RACES, RACES_REMOTE = 30, 10
PUBLISHERS = 4
KILLS = int(os.environ.get("STORE_KILLS", "24"))
# Seconds in which a publisher comes through some publications.
LONGEST_LIFE, LONGEST_LIFE_REMOTE = 0.15, 1.2
# Numbers of versions are times too; each publisher has this many seconds of its own.
LIFETIME_NUMBERS = 1000
FILES = ("dense/model.onnx", "manifest.json", "p80/model.onnx")
NOW = timedelta(seconds=-1)


def assert_nothing_else(store: Store, versions: list[str]) -> list[str]:
    """Collection removes what was left behind, all of it, and nothing else; returns what that was."""
    aliases = store.aliases("digits")
    removed = collect_garbage(store, older_than=NOW)
    assert (store.versions("digits"), store.aliases("digits")) == (versions, aliases)
    names = [found.name for found in store.objects.list_objects("digits/") if "/aliases/" not in found.name]
    assert names == [f"digits/{version}/{name}" for version in versions for name in FILES]
    assert set(aliases.values()) <= set(versions)
    return removed


@pytest.mark.slow
def test_four_way_races(place: Place) -> None:
    """Of versions of their own, and of one version: each is there once, whole, and whoever lost was told."""
    stores = [Store.create(place.url) for _ in range(PUBLISHERS)]
    together = threading.Barrier(PUBLISHERS)

    def publish(store: Store, version: tuple[Manifest, dict[str, bytes]]) -> bool:
        together.wait(HANG_S)
        try:
            store.publish(*version)
        except VersionExistsError:
            return False
        return True

    expected = []
    with ThreadPoolExecutor(PUBLISHERS) as threads:
        for race in range(RACES_REMOTE if place.server else RACES):
            one = race % 2 == 0
            contents = [f"race {race}, {0 if one else number}".encode() for number in range(PUBLISHERS)]
            built = [build_version(content * 500, created=NOON + timedelta(seconds=race)) for content in contents]
            won = list(threads.map(publish, stores, built))
            assert any(won) if one else all(won)
            expected += sorted({manifest.version for manifest, _ in built})
    store = Store.open(place.url)
    assert store.versions("digits") == expected
    for version in expected:
        store.verify("digits", version)
    assert assert_nothing_else(store, expected) == []


@pytest.mark.slow
def test_kills_at_random_moments(place: Place) -> None:
    """Four publishers at a time, while a reader looks on."""
    chance = random.Random(2026)
    longest = LONGEST_LIFE_REMOTE if place.server else LONGEST_LIFE
    store = Store.create(place.url)
    visible, begun = set[str](), set[str]()
    with ExitStack() as stack:
        nurseries = [stack.enter_context(child("nursery", place.url)) for _ in range(PUBLISHERS)]
        reader = stack.enter_context(child("read", place.url))
        for kill in range(0, KILLS if place.server else max(100, KILLS), PUBLISHERS):
            for number, nursery in enumerate(nurseries, start=kill):
                nursery.say({"number": number * LIFETIME_NUMBERS, "delay": chance.uniform(0, longest)})
            diaries = [nursery.hear() for nursery in nurseries]
            assert all(diary["killed"] and len(diary["started"]) - len(diary["done"]) <= 1 for diary in diaries)
            started, done = ({version for diary in diaries for version in diary[what]} for what in ("started", "done"))
            begun |= started
            contents = store.listing("digits")
            now = set(contents.versions)
            # What was there is there, what was reported done is there, and nothing that nobody began; what a server was
            # told last may come true after its client's death.
            assert visible | done <= now <= begun
            assert set(contents.aliases.values()) <= now
            for version in now - visible:
                store.verify("digits", version)
            visible = now
        reader.say("enough")
        report = reader.hear()
    assert report["problems"] == []
    assert report["reads"] > 0
    visible |= set(store.versions("digits"))
    assert 1 < len(visible) <= len(begun)
    left = assert_nothing_else(store, sorted(visible))
    assert bool(left) == place.litter, "no kill hit a publication: too slow to show anything"
    for version in visible:
        store.verify("digits", version)


@pytest.mark.slow
@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_connections_cut_at_random_moments(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers that try again until they come through: whatever was lost, each version is there once, whole."""
    chance, done, failures = random.Random(2026), threading.Event(), list[str]()
    with Proxy(place.server) as proxy:
        there = place.through(proxy.address)
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)

        def insist(attempt: Callable[[], object]) -> None:
            while True:
                try:
                    attempt()
                    return
                except VersionExistsError:
                    return
                except StoreUnavailableError as error:
                    failures.append(str(error))

        def publish(publisher: int) -> Iterator[str]:
            store = Store(there_store.objects)
            for number in count(publisher * LIFETIME_NUMBERS):
                if done.is_set():
                    return
                manifest, files = build_version(f"{number}".encode() * 5000, created=NOON + timedelta(seconds=number))
                insist(lambda: store.publish(manifest, files))  # noqa: B023
                insist(lambda: store.set_alias("digits", "production", manifest.version))  # noqa: B023
                yield manifest.version

        there_store = Store.create(there.url)
        with ThreadPoolExecutor(PUBLISHERS) as threads:
            publishers = [threads.submit(lambda number=number: list(publish(number))) for number in range(PUBLISHERS)]
            for _ in range(KILLS):
                time.sleep(chance.uniform(0, 0.3))
                if chance.random() < 0.2:  # longer than clients try again
                    proxy.down()
                    time.sleep(1)
                    proxy.up = True
                proxy.cut()
            done.set()
            published = sorted(version for publisher in publishers for version in publisher.result())
        assert failures, "no cut was noticed"
        assert len(published) >= PUBLISHERS
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    store = Store.open(place.url)
    assert store.versions("digits") == published
    for version in published:
        store.verify("digits", version)
    # A connection that is cut may keep a publisher from giving up its claim.
    assert all("/claims/" in name for name in assert_nothing_else(store, published))
