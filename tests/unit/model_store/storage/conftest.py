"""An empty cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.storage.disk_cache import DiskCache


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    """An empty cache of 64 KiB."""
    return DiskCache(tmp_path / "cache", 64 * 1024)
