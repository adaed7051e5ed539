"""An engine of the digits with its images, and a clock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model_store.store import Store
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from tests.support.scheduling import Clock


@pytest.fixture(scope="module")
def engine(digits_store: Path) -> Iterator[Engine]:
    """The level p50, with 64 draws ready."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    with ThreadPoolExecutor(2) as builders:
        engine = Engine(Bank(read_artifact(store.read_level(manifest, "p50")), "ab" * 32, 2), builders)
        engine.prepare(64)
        yield engine


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Forty pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def clock() -> Clock:
    """At zero."""
    return Clock()
