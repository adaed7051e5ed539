"""Folders and buckets: the same files, the same bytes, and whose fault it is where there are none."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.errors import ScoringError, UnreadableError
from service.scoring.place import Bucket, Folder, Place, place_at

DATA = bytes(range(256)) * 300
FILES = {"a/one.bin": DATA, "b.bin": b"two", "empty": b""}


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder, or a bucket in memory, with the files."""
    if request.param == "folder":
        for name, data in FILES.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return place_at(str(tmp_path))
    bucket = Bucket("memory:///")
    for name, data in FILES.items():
        bucket.store.put(name, data)
    return bucket


def test_files(place: Place) -> None:
    found = sorted(place.files(), key=lambda file: file.name)
    assert [(file.name, file.size) for file in found] == [(name, len(data)) for name, data in FILES.items()]
    assert all(file.mark for file in found)
    for name, data in FILES.items():
        assert place.read(name) == data


def test_from_anywhere(place: Place) -> None:
    """As Parquet's readers do."""
    with place.open("a/one.bin") as file:
        assert file.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert file.read(5) == DATA[-10:-5]
        assert file.read() == DATA[-5:]
        assert file.read(1) == b""
        file.seek(1000)
        file.seek(24, os.SEEK_CUR)
        assert (file.tell(), file.read(3)) == (1024, DATA[1024:1027])


def test_parquet_in_a_bucket(tmp_path: Path) -> None:
    """Read where it lies."""
    table = pa.table({"image": [b"x" * 5000] * 300})
    parquet.write_table(table, tmp_path / "0.parquet", row_group_size=100)
    bucket = Bucket("memory:///")
    bucket.store.put("0.parquet", (tmp_path / "0.parquet").read_bytes())
    with bucket.open("0.parquet") as file:
        assert parquet.ParquetFile(file).read_row_group(2).equals(table.slice(200))


def test_a_missing_file_is_its_own_fault(place: Place) -> None:
    with pytest.raises(UnreadableError, match="none cannot be read"):
        place.read("none")
    with pytest.raises(UnreadableError):
        place.open("none")


def test_one_object(tmp_path: Path) -> None:
    """A URL that ends as files do is one."""
    for name in ("one.parquet", "two.parquet"):
        (tmp_path / name).write_bytes(DATA)
    bucket = Bucket(f"file://{tmp_path}/one.parquet")
    assert [file.name for file in bucket.files()] == ["one.parquet"]
    assert bucket.read("one.parquet") == DATA
    assert sorted(file.name for file in Bucket(f"file://{tmp_path}").files()) == ["one.parquet", "two.parquet"]


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="no such file or folder"):
        list(place_at(str(tmp_path / "none")).files())
    with pytest.raises(ScoringError, match=r"nowhere://x cannot be read: .*nowhere"):
        place_at("nowhere://x")


def test_what_does_not_answer_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no row says for good what may pass."""
    for name, value in {"AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a",
                        "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = pickle.loads(pickle.dumps(place_at("s3://bucket/images")))
    bucket.store = type(bucket.store)("bucket", retry_config={"max_retries": 0})
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
