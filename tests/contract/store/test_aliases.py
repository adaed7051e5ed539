"""What a name means, now and before."""

from __future__ import annotations

import pytest

from model_store.errors import NotInStoreError
from tests.support.stores import Filled


def test_resolve(filled: Filled) -> None:
    store = filled.store
    assert store.resolve("digits") == filled.new
    assert store.resolve("digits", filled.old) == filled.old
    assert store.set_alias("digits", "candidate", filled.new) == filled.new
    assert store.resolve("digits", "candidate") == filled.new
    store.set_alias("digits", "production", filled.old)
    assert store.resolve("digits") == filled.old
    assert store.resolve("letters") == filled.letters


def test_an_alias_of_an_alias_means_what_that_means_now(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "candidate", filled.old)
    assert store.set_alias("digits", "production", "candidate") == filled.old
    store.set_alias("digits", "candidate", filled.new)
    assert store.aliases("digits") == {"candidate": filled.new, "production": filled.old}
    assert store.aliases("letters") == {}


def test_history(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "production", filled.old, by="ann")
    store.set_alias("digits", "production", filled.new, by="bob")
    store.remove_alias("digits", "production", by="eve")
    assert store.aliases("digits") == {}
    told = [(change.before, change.version, change.by) for change in store.history("digits")]
    assert told == [(None, filled.old, "ann"), (filled.old, filled.new, "bob"), (filled.new, None, "eve")]
    with pytest.raises(NotInStoreError, match=r"no alias 'production'.*none"):
        store.remove_alias("digits", "production")
