"""The cache: it gives what was kept, within its bytes, whoever shares it; and stores that are read through it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.cache import Cache
from model_store.errors import StoreAwayError, StoreError, VerificationError
from model_store.objects import UNFINISHED
from model_store.store import Store
from model_store.verification import sha256
from tests.support.backends import Place
from tests.support.project import PROJECT
from tests.support.proxy import Proxy
from tests.support.stores import build_version, fill

KIB = 1024


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache of 64 KiB."""
    return Cache(tmp_path / "cache", 64 * KIB)


def entries(cache: Cache) -> list[Path]:
    return [path for path in cache.folder.iterdir() if path.suffix in (".content", ".document")]


# The cache by itself


def test_it_gives_what_was_kept(cache: Cache) -> None:
    assert (cache.content(sha256(b"a")), cache.document("a")) == (None, None)
    for data in (b"a", b"", b"b" * 1000):
        assert cache.content(cache.keep_content(data)) == data
        cache.keep_document("question", data)
        assert cache.document("question") == data
    assert cache.folder.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 1032])
def test_what_was_damaged_is_removed(cache: Cache, damage: bytes) -> None:
    digest = cache.keep_content(b"b" * 1000)
    cache.keep_document("question", b"b" * 1000)
    for path in entries(cache):
        path.write_bytes(damage)
    assert (cache.content(digest), cache.document("question")) == (None, None)
    assert entries(cache) == []


def test_what_was_not_used_for_longest_goes_first(cache: Cache) -> None:
    digests = [cache.keep_content(bytes([number]) * 10 * KIB) for number in range(6)]
    for age, digest in enumerate(digests):
        os.utime(cache.folder / f"{digest}.content", (age, age))
    assert cache.content(digests[0]) is not None  # used now
    cache.keep_content(b"new" * 5 * KIB)
    assert cache.used <= cache.limit
    kept = [cache.content(digest) is not None for digest in digests]
    assert kept == [True, False, False, True, True, True]


def test_what_is_larger_than_the_cache_is_not_kept(cache: Cache) -> None:
    small = cache.keep_content(b"small")
    assert cache.content(cache.keep_content(b"x" * (cache.limit + 1))) is None
    assert cache.content(small) == b"small"


def test_what_a_dead_process_left_is_removed(cache: Cache) -> None:
    old, young = (cache.folder / f"{UNFINISHED}{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    cache.keep_content(b"x")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_place_where_no_cache_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="no cache can be kept at"):
        Cache(tmp_path / "file", KIB)


def test_a_disk_that_refuses_is_no_error(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    (cache.folder / f"{sha256(b'x')}.content").mkdir()
    assert cache.keep_content(b"x") == sha256(b"x")
    assert cache.content(sha256(b"x")) is None
    assert "the cache cannot be used" in caplog.text


WORKER = """
import random, sys
from pathlib import Path
from model_store.cache import Cache
cache, chance = Cache(Path(sys.argv[1]), 65536), random.Random(int(sys.argv[2]))
most = 0
for _ in range(300):
    data = bytes([chance.randrange(12)]) * 10240
    found = cache.content(cache.keep_content(data))
    assert found in (None, data)  # another process may have needed the room
    cache.keep_document("question", data[:100])
    assert len(set(cache.document("question") or b"x")) == 1
    most = max(most, cache.used)
print(most)
"""


def test_several_processes_share_it(cache: Cache) -> None:
    """Twice as much as there is room for, from four: never a torn entry, never more than the limit."""
    command = [sys.executable, "-c", WORKER, str(cache.folder)]
    workers = [
        subprocess.Popen([*command, str(seed)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(4)
    ]
    for worker in workers:
        said, errors = worker.communicate(timeout=60)
        assert (worker.returncode, errors) == (0, "")
        assert 30_000 < int(said) <= cache.limit
    assert len(entries(cache)) > 3


# A store that is read through it


def test_what_was_read_once_is_read_from_here(place: Place, cache: Cache) -> None:
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


def test_a_damaged_entry_is_read_anew(place: Place, cache: Cache) -> None:
    filled = fill(Store.create(place.url))
    store = Store.open(place.url, cache=cache)
    manifest = store.verify("digits", filled.new)
    for path in entries(cache):
        path.write_bytes(b"x" * path.stat().st_size)
    assert store.verify("digits", filled.new) == manifest
    for path in entries(cache):
        path.unlink()
    assert store.verify("digits", filled.new) == manifest


def test_what_was_bad_in_the_store_is_read_anew_once_it_is_mended(place: Place, cache: Cache) -> None:
    filled = fill(Store.create(place.url))
    name = f"digits/{filled.new}/p80/model.onnx"
    filled.store.objects.write(name, b"p80:secon!")
    store = Store.open(place.url, cache=cache)
    with pytest.raises(VerificationError, match="altered"):
        store.verify("digits", filled.new)
    time.sleep(1.1)  # times of objects have seconds on some
    filled.store.objects.write(name, b"p80:second")
    store.verify("digits", filled.new)


def test_a_store_that_goes_away(place: Place, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be opened and read as it was; what was never read cannot, nor can anything be written."""
    if not place.server:
        pytest.skip("a folder does not go away")
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
            assert reader.away is not None
            assert reader.verify("digits", filled.new) == manifest
            with pytest.raises(StoreAwayError):
                reader.verify("digits", filled.old)
            with pytest.raises(StoreAwayError):
                reader.set_alias("digits", "production", filled.new)
        with pytest.raises(StoreAwayError):
            Store.open(there.url)
        proxy.up = True
        assert store.versions("digits") == [filled.old, filled.new]
        assert store.away is None
        assert store.verify("digits", filled.old).version == filled.old


def test_many_readers_at_once(place: Place, cache: Cache) -> None:
    filled = fill(Store.create(place.url))
    store = Store.open(place.url, cache=cache)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: store.verify("digits", filled.new), range(16)))
    assert found == [filled.store.manifest("digits", filled.new)] * 16
    assert build_version(b"second")[1]["p80"] == store.read_level(found[0], "p80")
