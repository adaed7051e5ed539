"""Stores that are read through a cache, on every backend."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from model_store.errors import StoreUnavailableError, VerificationError
from model_store.storage.disk_cache import DiskCache
from model_store.store import Store
from tests.support.backends import SERVERS, Place
from tests.support.proxy import Proxy
from tests.support.stores import build_version, entries, fill

# A store that is read through it


def test_what_was_read_once_is_read_from_here(place: Place, cache: DiskCache) -> None:
    """Every file, and what a listing said; equal files are kept once."""
    filled = fill(Store.create(place.url))
    before = Store.open(place.url, cache=cache)
    manifest = before.verify("digits", filled.new)
    used = cache.used
    second = manifest.model_copy(update={"version": "20300101-000000-abcdef"})
    filled.store.publish(second, {level.name: before.read_level(manifest, level.name) for level in manifest.levels})
    assert before.verify("digits", second.version) == second
    assert cache.used - used < 2 * len(second.to_json())
    again = Store.open(place.url, cache=cache)
    assert again.versions("digits") == [filled.old, filled.new, second.version]
    # Taken from here: it is not in the store any more, whose listing was not looked at since.
    filled.store.objects.delete(f"digits/{filled.new}/p80/model.onnx")
    assert again.read_level(manifest, "p80") == b"p80:second"
    again.versions("digits")
    with pytest.raises(VerificationError):
        again.read_level(manifest, "p80")


def test_a_damaged_entry_is_read_anew(place: Place, cache: DiskCache) -> None:
    filled = fill(Store.create(place.url))
    store = Store.open(place.url, cache=cache)
    manifest = store.verify("digits", filled.new)
    for path in entries(cache):
        path.write_bytes(b"x" * path.stat().st_size)
    assert store.verify("digits", filled.new) == manifest
    for path in entries(cache):
        path.unlink()
    assert store.verify("digits", filled.new) == manifest


def test_what_was_bad_in_the_store_is_read_anew_once_it_is_mended(place: Place, cache: DiskCache) -> None:
    filled = fill(Store.create(place.url))
    name = f"digits/{filled.new}/p80/model.onnx"
    filled.store.objects.write(name, b"p80:secon!")
    store = Store.open(place.url, cache=cache)
    with pytest.raises(VerificationError, match="altered"):
        store.verify("digits", filled.new)
    time.sleep(1.1)  # times of objects have seconds on some
    filled.store.objects.write(name, b"p80:second")
    store.verify("digits", filled.new)


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_store_that_goes_away(place: Place, cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be opened and read as it was; what was never read cannot, nor can anything be written."""
    filled = fill(Store.create(place.url))
    with Proxy(place.server) as proxy:
        there = place.through(proxy.address)
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)
        store = Store.open(there.url, cache=cache)
        manifest = store.verify("digits", filled.new)
        assert store.models() == ["digits", "letters"]
        proxy.down()
        for reader in (store, Store.open(there.url, cache=cache)):
            assert reader.models() == ["digits", "letters"]
            assert reader.unavailable_reason is not None
            assert reader.verify("digits", filled.new) == manifest
            with pytest.raises(StoreUnavailableError):
                reader.verify("digits", filled.old)
            with pytest.raises(StoreUnavailableError):
                reader.set_alias("digits", "production", filled.new)
        with pytest.raises(StoreUnavailableError):
            Store.open(there.url)
        proxy.up = True
        assert store.versions("digits") == [filled.old, filled.new]
        assert store.unavailable_reason is None
        assert store.verify("digits", filled.old).version == filled.old


def test_many_readers_at_once(place: Place, cache: DiskCache) -> None:
    filled = fill(Store.create(place.url))
    store = Store.open(place.url, cache=cache)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: store.verify("digits", filled.new), range(16)))
    assert found == [filled.store.manifest("digits", filled.new)] * 16
    assert build_version(b"second")[1]["p80"] == store.read_level(found[0], "p80")
