"""Deletion and collection remove what nobody needs, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from model_store.errors import NotInStoreError, StoreError
from model_store.maintenance import collect_garbage
from model_store.storage.object_storage import TEMP_PREFIX
from tests.support.stores import Filled, snapshot

ABSENT = "20200101-000000-000000"
NOW = timedelta(seconds=-1)


def test_delete(filled: Filled) -> None:
    store = filled.store
    before = snapshot(store)
    store.set_alias("digits", "production", filled.new)
    with pytest.raises(StoreError, match="is production: promote another version first"):
        store.delete("digits", filled.new)
    store.delete("digits", filled.old)
    left = {name: data for name, data in snapshot(store).items() if "/aliases/" not in name}
    assert left == {name: data for name, data in before.items() if not name.startswith(f"digits/{filled.old}/")}
    assert store.versions("digits") == [filled.new]
    with pytest.raises(NotInStoreError, match="no version"):
        store.delete("digits", filled.old)


def test_collection_removes_what_is_no_version(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "production", filled.old)
    before = snapshot(store)
    assert collect_garbage(store, older_than=NOW) == []
    store.objects.write(f"digits/{ABSENT}/p80/model.onnx", b"half of it")
    store.objects.write(f"digits/{filled.old}/{TEMP_PREFIX}0123456789abcdef", b"half of it")
    expected = [f"digits/{ABSENT}", f"digits/{filled.old}/{TEMP_PREFIX}0123456789abcdef"]
    assert collect_garbage(store) == []
    assert collect_garbage(store, older_than=NOW, dry_run=True) == expected
    assert collect_garbage(store, older_than=NOW) == expected
    assert snapshot(store) == before
