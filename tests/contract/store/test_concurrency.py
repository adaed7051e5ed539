"""Several at once: each has its version and its alias, and nobody disturbs another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

from model_store.maintenance import collect_garbage
from model_store.manifest import Manifest
from model_store.store import Store
from tests.support.stores import NOON, Filled, build_version
from tests.support.waiting import HANG_S

PUBLISHERS = 4
NOW = timedelta(seconds=-1)


def test_publishers_at_the_same_second_get_a_version_each(store: Store) -> None:
    built = [build_version(f"content {number}".encode()) for number in range(PUBLISHERS)]
    together = threading.Barrier(PUBLISHERS)

    def publish(version: tuple[Manifest, dict[str, bytes]]) -> None:
        together.wait(HANG_S)
        store.publish(*version)

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        list(threads.map(publish, built))
    assert store.versions("digits") == sorted(manifest.version for manifest, _ in built)
    for manifest, files in built:
        assert store.verify("digits", manifest.version) == manifest
        assert {level: store.read_level(manifest, level) for level in files} == files
    assert collect_garbage(store, older_than=NOW) == []


def test_no_alias_is_lost_among_concurrent_updates(filled: Filled) -> None:
    wanted = {f"alias-{number}": (filled.old, filled.new)[number % 2] for number in range(24)}
    done = threading.Event()
    seen: list[dict[str, str]] = []

    def read() -> None:
        while not done.is_set():
            seen.append(filled.store.aliases("digits"))

    with ThreadPoolExecutor(7) as threads:
        reader = threads.submit(read)
        try:
            list(threads.map(lambda item: filled.store.set_alias("digits", *item), wanted.items()))
        finally:
            done.set()
        reader.result()
    assert filled.store.aliases("digits") == wanted
    # Every reading is a whole one, and aliases only ever come.
    assert all(earlier.items() <= later.items() <= wanted.items() for earlier, later in pairwise(seen))


def test_collection_at_work_disturbs_no_publisher(store: Store) -> None:
    """Collection runs all the time while versions and aliases come; every publication succeeds."""
    done = threading.Event()
    removed: list[str] = []

    def clean() -> None:
        while not done.is_set():
            removed.extend(collect_garbage(store))

    def publish(number: int) -> str:
        manifest, files = build_version(f"{number}".encode(), created=NOON + timedelta(seconds=number))
        store.publish(manifest, files)
        store.set_alias("digits", f"alias-{number % 3}", manifest.version)
        return manifest.version

    with ThreadPoolExecutor(4) as threads:
        cleaners = [threads.submit(clean) for _ in range(2)]
        try:
            published = list(threads.map(publish, range(8)))
        finally:
            done.set()
        for cleaner in cleaners:
            cleaner.result()
    assert removed == []
    assert store.versions("digits") == sorted(published)
    for version in published:
        store.verify("digits", version)
