"""Several publishers of one name, where writing is exclusive: one of them wins."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from model_store.collection import collect
from model_store.errors import VersionExistsError
from model_store.manifest import Manifest
from model_store.store import Store
from tests.support.stores import build_version

PUBLISHERS = 6


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
