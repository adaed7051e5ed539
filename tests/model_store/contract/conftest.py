"""What a store keeps of its word wherever it lies: the tests of this folder run on each backend, with a real server."""

from __future__ import annotations

import pytest

from model_store.store import Store
from tests.model_store.backends import Place


@pytest.fixture
def store(place: Place) -> Store:
    """An empty store."""
    return Store.create(place.url)


def snapshot(store: Store) -> dict[str, bytes]:
    """Every object of every model: name to content."""
    listed = (found for name in store.objects.folders() for found in store.objects.walk(f"{name}/"))
    return {found.name: store.objects.read(found.name, found.size) for found in listed if not found.name.endswith("/")}
