"""Artifacts of the digits and of the zoo, with images, and threads that build."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model_store.storage.location import ZOO
from model_store.store import Store
from service.inference.artifact import Artifact, read_artifact


@pytest.fixture(scope="module")
def data(digits_store: Path) -> bytes:
    """The file of the level p90."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    return store.read_level(manifest, "p90")


@pytest.fixture(scope="module")
def artifact(data: bytes) -> Artifact:
    """The file, read."""
    return read_artifact(data)


@pytest.fixture(scope="module")
def zoo_level() -> Artifact:
    """The zoo's level x4, whose first layers are deterministic."""
    store = Store.open(ZOO)
    (name,) = store.models()
    manifest = store.manifest(name, store.resolve(name))
    return read_artifact(store.read_level(manifest, "x4"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Four pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def builders() -> Iterator[ThreadPoolExecutor]:
    """Two threads that build."""
    with ThreadPoolExecutor(2) as executor:
        yield executor
