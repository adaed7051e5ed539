"""What a store keeps of its word wherever it lies: the tests of this folder run on each backend, with a real server."""

from __future__ import annotations

import pytest

from model_store.store import Store
from tests.support.backends import Place


@pytest.fixture
def store(place: Place) -> Store:
    """An empty store."""
    return Store.create(place.url)
