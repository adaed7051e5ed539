"""What all levels of a service share: threads by the settings, and none of them left at the end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from model_store.store import Store
from service.errors import StartupError
from service.repository.repository import ModelRepository
from service.repository.runtime import Runtime
from service.settings import Settings


def computing() -> list[str]:
    """The threads that draw, by name."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("draws-"))


def test_threads_are_those_of_the_settings_and_end(digits_store: Path) -> None:
    before = computing()
    runtime = Runtime.start(Settings(store=digits_store, threads=3, max_wait_ms=2000), Store.open(digits_store))
    assert (runtime.num_workers, runtime.workers.num_threads, runtime.admission.max_wait_s) == (3, 3, 2.0)
    assert len(computing()) == len(before) + 3
    runtime.close()
    assert computing() == before


def test_a_service_that_cannot_start_leaves_no_threads(digits_store: Path) -> None:
    before = computing()
    with pytest.raises(StartupError, match="default model 'cats' is not in the store"):
        ModelRepository(Settings(store=digits_store, default_model="cats"))
    assert computing() == before


def test_a_file_is_verified_before_it_is_computed(digits_store: Path) -> None:
    store = Store.open(digits_store)
    runtime = Runtime.start(Settings(store=digits_store, threads=1), store)
    try:
        manifest = store.manifest("digits", store.resolve("digits"))
        artifact = runtime.load_artifact(manifest, manifest.levels[0])
        assert artifact.num_classes == len(manifest.classes)
    finally:
        runtime.close()
