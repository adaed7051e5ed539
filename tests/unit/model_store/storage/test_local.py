"""Stores that may be read and not written, or not even read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from model_store.errors import StoreError, StoreNotFoundError, VerificationError
from model_store.store import Store
from tests.support.stores import NOON, Filled, build_version

Unprivileged = Callable[[], AbstractContextManager[None]]


def test_a_read_only_store_can_be_read_and_not_written(filled: Filled, unprivileged: Unprivileged) -> None:
    manifest, files = build_version(b"more", created=NOON + timedelta(hours=1))
    letters, letters_files = build_version(b"more", model="new-model")
    Path(filled.store.url).chmod(0o555)
    (Path(filled.store.url) / "digits").chmod(0o555)
    before = set(Path(filled.store.url).rglob("*"))
    with unprivileged():
        store = Store.open(Path("store"))
        store.verify("digits", store.resolve("digits"))
        for attempt in (
            lambda: store.publish(manifest, files),
            lambda: store.publish(letters, letters_files),
            lambda: store.set_alias("digits", "production", filled.old),
            lambda: Store.create(Path("store") / "below"),
        ):
            with pytest.raises(StoreError, match="Permission denied"):
                attempt()
    (Path(filled.store.url) / "digits").chmod(0o755)
    Path(filled.store.url).chmod(0o755)
    assert set(Path(filled.store.url).rglob("*")) == before


def test_what_may_not_be_read_is_an_error_of_the_store(filled: Filled, unprivileged: Unprivileged) -> None:
    root = Path(filled.store.url)
    manifest = filled.store.manifest("digits", filled.new)
    (root / "digits" / filled.new / "manifest.json").chmod(0)
    filled.level_file(filled.new).chmod(0)
    (root / "letters").chmod(0)
    # The root of a file system has such a folder; it is none of the store's.
    (root / "lost+found").mkdir(mode=0)
    with unprivileged():
        store = Store.open(Path("store"))
        store.verify("digits", filled.old)
        with pytest.raises(StoreError, match="Permission denied"):
            store.manifest("digits", filled.new)
        with pytest.raises(VerificationError, match="Permission denied"):
            store.read_level(manifest, "p80")
        with pytest.raises(StoreError, match="letters"):
            store.versions("letters")
    (root / "letters").chmod(0o755)
    with unprivileged():
        assert store.models() == ["digits", "letters"]
    root.chmod(0)
    with unprivileged():
        for path in (Path("store"), Path("store/below")):
            with pytest.raises(StoreNotFoundError, match=str(path)):
                Store.open(path)
    root.chmod(0o755)
