"""Which level of a version answers in another's place."""

from __future__ import annotations

from model_store.storage.location import ZOO
from service.repository.repository import ModelRepository
from service.settings import Settings


def test_a_cheaper_level_is_worth_its_answers() -> None:
    """Weights that are gone from a graph of the same size save nothing; channels do."""
    catalog = ModelRepository(Settings(store=ZOO))
    try:
        catalog.refresh()
        version = catalog.model(None).version(None)
        found = {name: version.cheaper(level) for name, level in version.levels.items()}
        assert {name: each and each.level.name for name, each in found.items()} == {
            "dense": "x4",
            "p80": "x4",
            "p90": "x4",
            "p95": "x4",
            "x4": None,
        }
    finally:
        catalog.close()
