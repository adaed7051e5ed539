"""A store of the digits that may be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_store.store import Store
from tests.support.restamped import SECOND, rename


@pytest.fixture
def store(digits_store: Path, tmp_path: Path) -> Path:
    """A copy of the store, with a second, newer version."""
    copy = tmp_path / "store"
    shutil.copytree(digits_store, copy)
    first = Store.open(copy).resolve("digits")
    shutil.copytree(copy / "digits" / first, copy / "digits" / SECOND)
    rename(copy / "digits" / SECOND, version=SECOND)
    return copy
