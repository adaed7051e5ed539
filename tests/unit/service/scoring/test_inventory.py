"""What there is to score: found in one order, cut into shards that have each row once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from model_store.manifest import InputShape
from service.scoring.inventory import Inventory, scan_input
from service.scoring.storage import File

SHAPE = InputShape(height=8, width=8, channels=1)


@given(counts=st.lists(st.integers(0, 9), max_size=12), size=st.integers(1, 20))
def test_shards_have_each_row_once(counts: list[int], size: int) -> None:
    """In order, all of one size but the last, and none of them empty."""
    files = [(File(f"{number:02d}", 1, ""), count) for number, count in enumerate(counts)]
    shards = Inventory("parquet", tuple(files)).shards(size)
    rows = [(span.name, row) for shard in shards for span in shard.spans for row in range(span.start, span.stop)]
    assert rows == [(file.name, row) for file, count in files for row in range(count)]
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert [shard.first for shard in shards] == [number * size for number in range(len(shards))]
    assert all(shard.rows == size for shard in shards[:-1])
    assert all(0 < shard.rows <= size for shard in shards[-1:])


@pytest.mark.parametrize(
    "other",
    [
        [(File("a", 1, "x"), 1)],
        [(File("a", 1, "x"), 1), (File("c", 2, "y"), 1)],
        [(File("a", 1, "x"), 1), (File("b", 3, "y"), 1)],
        [(File("a", 1, "x"), 1), (File("b", 2, "z"), 1)],
        [(File("a", 1, "x"), 1), (File("b", 2, "y"), 2)],
    ],
)
def test_digest(other: list[tuple[File, int]]) -> None:
    """Another for anything that differs."""
    files = (File("a", 1, "x"), 1), (File("b", 2, "y"), 1)
    assert Inventory("parquet", files).digest == Inventory("pictures", files).digest
    assert Inventory("parquet", files).digest != Inventory("parquet", tuple(other)).digest


def test_what_counts(tmp_path: Path) -> None:
    """Not what is hidden, nor what Parquet writers put beside their files; a file that is named itself always."""
    for name in ("b/2.PNG", "a/1.jpg", "10.png", ".git/x.png", "_temporary/y.png", "_z.png", "readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    _, inventory = scan_input(str(tmp_path), SHAPE, None, None)
    assert (inventory.kind, inventory.rows) == ("pictures", 3)
    assert [file.name for file, _ in inventory.files] == ["10.png", "a/1.jpg", "b/2.PNG"]
    _, inventory = scan_input(f"file://{tmp_path}/_z.png", SHAPE, None, None)
    assert [file.name for file, _ in inventory.files] == ["_z.png"]


def test_rows_of_parquet_are_counted(tmp_path: Path) -> None:
    """File by file, by their footers."""
    for number, rows in enumerate((3, 0, 4)):
        images = pa.array([b""] * rows, pa.binary())
        parquet.write_table(pa.table({"image": images}), tmp_path / f"{number}.parquet")
    _, inventory = scan_input(str(tmp_path), SHAPE, None, None)
    assert [rows for _, rows in inventory.files] == [3, 0, 4]
    assert [shard.rows for shard in inventory.shards(5)] == [5, 2]
