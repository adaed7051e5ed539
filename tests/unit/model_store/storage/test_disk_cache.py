"""The cache: it gives what was kept, within its bytes, whoever shares it; and stores that are read through it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.errors import StoreError
from model_store.manifest.integrity import sha256
from model_store.storage.disk_cache import DiskCache
from model_store.storage.object_storage import TEMP_PREFIX
from tests.support.project import PROJECT
from tests.support.stores import entries
from tests.support.waiting import HANG_S

KIB = 1024


# The cache by itself


def test_it_gives_what_was_kept(cache: DiskCache) -> None:
    assert (cache.content(sha256(b"a")), cache.document("a")) == (None, None)
    for data in (b"a", b"", b"b" * 1000):
        assert cache.content(cache.keep_content(data)) == data
        cache.keep_document("question", data)
        assert cache.document("question") == data
    assert cache.folder.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 1032])
def test_what_was_damaged_is_removed(cache: DiskCache, damage: bytes) -> None:
    digest = cache.keep_content(b"b" * 1000)
    cache.keep_document("question", b"b" * 1000)
    for path in entries(cache):
        path.write_bytes(damage)
    assert (cache.content(digest), cache.document("question")) == (None, None)
    assert entries(cache) == []


def test_what_was_not_used_for_longest_goes_first(cache: DiskCache) -> None:
    digests = [cache.keep_content(bytes([number]) * 10 * KIB) for number in range(6)]
    for age, digest in enumerate(digests):
        os.utime(cache.folder / f"{digest}.content", (age, age))
    assert cache.content(digests[0]) is not None  # used now
    cache.keep_content(b"new" * 5 * KIB)
    assert cache.used <= cache.limit
    kept = [cache.content(digest) is not None for digest in digests]
    assert kept == [True, False, False, True, True, True]


def test_what_is_larger_than_the_cache_is_not_kept(cache: DiskCache) -> None:
    small = cache.keep_content(b"small")
    assert cache.content(cache.keep_content(b"x" * (cache.limit + 1))) is None
    assert cache.content(small) == b"small"


def test_what_a_dead_process_left_is_removed(cache: DiskCache) -> None:
    old, young = (cache.folder / f"{TEMP_PREFIX}{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    cache.keep_content(b"x")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_place_where_no_cache_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="no cache can be kept at"):
        DiskCache(tmp_path / "file", KIB)


def test_a_disk_that_refuses_is_no_error(cache: DiskCache, caplog: pytest.LogCaptureFixture) -> None:
    (cache.folder / f"{sha256(b'x')}.content").mkdir()
    assert cache.keep_content(b"x") == sha256(b"x")
    assert cache.content(sha256(b"x")) is None
    assert "the cache cannot be used" in caplog.text


WORKER = """
import random, sys
from pathlib import Path
from model_store.storage.disk_cache import DiskCache
cache, chance = DiskCache(Path(sys.argv[1]), 65536), random.Random(int(sys.argv[2]))
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


def test_several_processes_share_it(cache: DiskCache) -> None:
    """Twice as much as there is room for, from four: never a torn entry, never more than the limit."""
    command = [sys.executable, "-c", WORKER, str(cache.folder)]
    workers = [
        subprocess.Popen([*command, str(seed)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(4)
    ]
    ended = [worker.communicate(timeout=HANG_S) for worker in workers]
    for worker, (said, errors) in zip(workers, ended, strict=True):
        assert (worker.returncode, errors) == (0, "")
        assert 30_000 < int(said) <= cache.limit
    assert len(entries(cache)) > 3


# Who else can reach the folder


def test_a_folder_that_others_can_write_to_is_taken_from_them(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    cache = DiskCache(folder, KIB)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.content(cache.keep_content(b"a")) == b"a"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_what_another_user_wrote_is_not_read(cache: DiskCache, caplog: pytest.LogCaptureFixture) -> None:
    """A listing has no digest to be checked by: that it is this user's own is all that vouches for it."""
    if os.geteuid() != 0:
        pytest.skip("only root can write as somebody else")
    cache.keep_document("question", b"forged")
    (entry,) = entries(cache)
    os.chown(entry, 65534, 65534)
    assert cache.document("question") is None
    assert "an entry is no file of this user" in caplog.text or "not permitted" in caplog.text
    cache.keep_document("question", b"true")
    assert cache.document("question") == b"true"


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of somebody else")
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(StoreError, match=r"no cache can be kept at .*: it belongs to another user"):
        DiskCache(tmp_path, KIB)


def test_links_are_not_followed(cache: DiskCache, tmp_path: Path) -> None:
    """Neither the folder's, nor the lock's, nor an entry's."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep")
    digest = cache.keep_content(b"keep")
    (cache.folder / f"{digest}.content").unlink()
    (cache.folder / f"{digest}.content").symlink_to(precious)
    assert cache.content(digest) is None
    (cache.folder / ".lock").unlink()
    (cache.folder / ".lock").symlink_to(precious)
    cache.keep_document("question", b"x")
    with pytest.raises(StoreError, match="no cache can be kept at"):
        DiskCache(cache.folder, KIB)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(StoreError, match="no cache can be kept at"):
        DiskCache(tmp_path / "link", KIB)
    assert precious.read_bytes() == b"keep"


def test_a_pipe_among_the_entries_keeps_nobody_waiting(cache: DiskCache) -> None:
    digest = sha256(b"x")
    os.mkfifo(cache.folder / f"{digest}.content")
    assert cache.content(digest) is None
    assert cache.keep_content(b"x") == digest
    assert cache.content(digest) == b"x"
