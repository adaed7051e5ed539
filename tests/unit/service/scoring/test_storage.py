"""Folders and buckets: the same files, the same bytes, and whose fault it is where there are none."""

from __future__ import annotations

import os
import pickle
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from model_store.storage.bucket import RETRY
from service.errors import ScoringError, UnreadableError
from service.scoring.storage import Bucket, Folder, Storage, storage_at
from tests.support.backends import BUCKET, s3_environment

DATA = bytes(range(256)) * 300
FILES = {"a/one.bin": DATA, "b.bin": b"two", "empty": b""}


@pytest.fixture
def bucket(swift: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty folder of a bucket on a real server."""
    for name, value in s3_environment(swift).items():
        monkeypatch.setenv(name, value)
    return Bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.system)])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder, or a bucket, with the files."""
    if request.param == "folder":
        for name, data in FILES.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return storage_at(str(tmp_path))
    bucket: Bucket = request.getfixturevalue("bucket")
    for name, data in FILES.items():
        bucket.client.put(name, data)
    return bucket


def test_files(somewhere: Storage) -> None:
    found = sorted(somewhere.files(), key=lambda file: file.name)
    assert [(file.name, file.size) for file in found] == [(name, len(data)) for name, data in FILES.items()]
    assert all(file.mark for file in found)
    for name, data in FILES.items():
        assert somewhere.read(name) == data


def test_from_anywhere(somewhere: Storage) -> None:
    """As Parquet's readers do."""
    with somewhere.open("a/one.bin") as file:
        assert file.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert file.read(5) == DATA[-10:-5]
        assert file.read() == DATA[-5:]
        assert file.read(1) == b""
        file.seek(1000)
        file.seek(24, os.SEEK_CUR)
        assert (file.tell(), file.read(3)) == (1024, DATA[1024:1027])


@pytest.mark.system
def test_parquet_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    """Read where it lies."""
    table = pa.table({"image": [b"x" * 5000] * 300})
    parquet.write_table(table, tmp_path / "0.parquet", row_group_size=100)
    bucket.client.put("0.parquet", (tmp_path / "0.parquet").read_bytes())
    with bucket.open("0.parquet") as file:
        assert parquet.ParquetFile(file).read_row_group(2).equals(table.slice(200))


def test_a_missing_file_is_its_own_fault(somewhere: Storage) -> None:
    with pytest.raises(UnreadableError, match="none cannot be read"):
        somewhere.read("none")
    with pytest.raises(UnreadableError):
        somewhere.open("none")


@pytest.mark.system
def test_one_object(bucket: Bucket) -> None:
    """A URL that ends as files do is one; it means the same where it is unpickled."""
    for name in ("one.parquet", "two.parquet"):
        bucket.client.put(name, DATA)
    one = pickle.loads(pickle.dumps(storage_at(f"{bucket.url}/one.parquet")))
    assert [file.name for file in one.files()] == ["one.parquet"]
    assert one.read("one.parquet") == DATA
    assert sorted(file.name for file in bucket.files()) == ["one.parquet", "two.parquet"]


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="no such file or folder"):
        list(storage_at(str(tmp_path / "none")).files())
    with pytest.raises(ScoringError, match="nowhere:// cannot be read: expected a file, a folder"):
        storage_at("nowhere://x")


def test_what_does_not_answer_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no row says for good what may pass."""
    environment = s3_environment("http://127.0.0.1:9")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(RETRY, "max_retries", 0)
    bucket = Bucket("s3://bucket/images")
    for ask in (lambda: list(bucket.files()), lambda: bucket.read("x"), lambda: bucket.open("x")):
        with pytest.raises(ScoringError) as found:
            ask()
        assert not isinstance(found.value, UnreadableError)
        assert "\n" not in str(found.value)


def test_links(tmp_path: Path) -> None:
    """To files they are followed, to folders they are not."""
    (tmp_path / "real" / "folder").mkdir(parents=True)
    (tmp_path / "real" / "folder" / "x").write_bytes(b"x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").symlink_to(tmp_path / "real" / "folder" / "x")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "real")
    place = Folder(tmp_path / "in")
    assert [file.name for file in place.files()] == ["file"]
    assert place.read("file") == b"x"
