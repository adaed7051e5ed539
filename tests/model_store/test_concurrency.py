"""Several publishers and promoters at once: everything whole, nothing lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from model_store.collection import collect
from model_store.errors import VersionExistsError
from model_store.manifest import Manifest
from model_store.store import Store
from tests.model_store.conftest import Filled
from tests.model_store.versions import NOON, build_version

PUBLISHERS = 6


def test_publishers_at_the_same_second_get_a_version_each(store: Store) -> None:
    built = [build_version(f"content {number}".encode()) for number in range(PUBLISHERS)]
    together = threading.Barrier(PUBLISHERS)

    def publish(version: tuple[Manifest, dict[str, bytes]]) -> None:
        together.wait(10)
        store.publish(*version)

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        list(threads.map(publish, built))
    assert store.versions("digits") == sorted(manifest.version for manifest, _ in built)
    for manifest, files in built:
        assert store.verify("digits", manifest.version) == manifest
        assert {level: store.read_level(manifest, level) for level in files} == files
    assert collect(store) == []


def test_publishers_of_the_same_name_get_one_version_between_them(store: Store) -> None:
    """Different contents under one name: one publisher wins, and nothing of the others is mixed into its version."""
    name = build_version()[0].version
    built = [build_version(f"content {number}".encode()) for number in range(PUBLISHERS)]
    rivals = [(manifest.model_copy(update={"version": name}), files) for manifest, files in built]
    together = threading.Barrier(PUBLISHERS)

    def publish(version: tuple[Manifest, dict[str, bytes]]) -> bool:
        together.wait(10)
        try:
            store.publish(*version)
        except VersionExistsError:
            return False
        return True

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        won = list(threads.map(publish, rivals))
    assert won.count(True) == 1
    manifest, files = rivals[won.index(True)]
    assert store.versions("digits") == [name]
    assert store.verify("digits", name) == manifest
    assert {level: store.read_level(manifest, level) for level in files} == files
    assert collect(store) == []


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
    # Every reading is a whole file, and aliases only ever come.
    assert all(earlier.items() <= later.items() <= wanted.items() for earlier, later in pairwise(seen))


def test_collection_at_work_disturbs_no_publisher(store: Store) -> None:
    """Collection runs all the time while versions and aliases come; every publication succeeds."""
    done = threading.Event()
    removed: list[str] = []
    (Path(store.url) / "digits").mkdir()

    def clean() -> None:
        while not done.is_set():
            removed.extend(collect(store))

    def publish(number: int) -> str:
        manifest, files = build_version(f"{number}".encode(), created=NOON + timedelta(seconds=number))
        store.publish(manifest, files)
        store.set_alias("digits", f"alias-{number % 3}", manifest.version)
        return manifest.version

    with ThreadPoolExecutor(6) as threads:
        cleaners = [threads.submit(clean) for _ in range(2)]
        try:
            published = list(threads.map(publish, range(40)))
        finally:
            done.set()
        for cleaner in cleaners:
            cleaner.result()
    assert removed == []
    assert store.versions("digits") == sorted(published)
    for version in published:
        store.verify("digits", version)
