"""An empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache of 64 KiB."""
    return Cache(tmp_path / "cache", 64 * 1024)
