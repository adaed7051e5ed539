"""Rows of Parquet: pictures and pixels in every form, whatever the row groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from model_store.manifest import InputShape
from service.errors import ScoringError, UnreadableError
from service.scoring.inventory import scan_input
from service.scoring.source import Item, Pixels

SHAPE = InputShape(height=4, width=2, channels=3)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 2, 3), dtype=np.uint8)
PICTURES = [f"picture {number}".encode() for number in range(7)]


def items(folder: Path, shard_size: int = 100, column: str | None = None, id_column: str | None = None) -> list[Item]:
    """Of all shards, in order."""
    source, inventory = scan_input(str(folder), SHAPE, column, id_column)
    return [item for shard in inventory.shards(shard_size) for item in source.read(shard)]


def loaded(folder: Path, **columns: str | None) -> list[bytes | Pixels]:
    return [item.load() for item in items(folder, **columns)]  # type: ignore[arg-type]


def flat(kind: pa.DataType) -> pa.Array:
    return pa.array(PIXELS.reshape(7, -1).tolist(), kind)


@pytest.mark.parametrize(
    "images",
    [
        flat(pa.list_(pa.uint8())),
        flat(pa.large_list(pa.uint8())),
        flat(pa.list_(pa.uint8(), 24)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(PIXELS),
        pa.array([image.tobytes() for image in PIXELS], pa.binary(24)),
    ],
    ids=lambda images: str(images.type)[:20],
)
def test_pixels(tmp_path: Path, images: pa.Array) -> None:
    parquet.write_table(pa.table({"x": images, "label": range(7)}), tmp_path / "0.parquet", row_group_size=2)
    found = loaded(tmp_path)
    assert all(isinstance(each, np.ndarray) and each.dtype == np.uint8 for each in found)
    np.testing.assert_array_equal(np.stack(found), PIXELS)


@pytest.mark.parametrize(
    "images",
    [
        pa.array(PICTURES, pa.binary()),
        pa.array(PICTURES, pa.large_binary()),
        pa.array([{"bytes": each, "path": None} for each in PICTURES]),
    ],
    ids=lambda images: str(images.type)[:20],
)
def test_pictures(tmp_path: Path, images: pa.Array) -> None:
    parquet.write_table(pa.table({"image": images, "other": PICTURES}), tmp_path / "0.parquet")
    assert loaded(tmp_path) == PICTURES


def test_missing_and_wrong(tmp_path: Path) -> None:
    """One row's own fault is its own."""
    values: list[list[int | None] | None] = [PIXELS[0].ravel().tolist(), None, [1, 2], [None] * 24]
    parquet.write_table(pa.table({"image": pa.array(values, pa.list_(pa.uint8()))}), tmp_path / "0.parquet")
    good, *bad = items(tmp_path)
    np.testing.assert_array_equal(good.load(), PIXELS[0])
    for item, says in zip(bad, ("no image", "2 values: expected the pixels of [4, 2, 3]", "null"), strict=True):
        with pytest.raises(UnreadableError, match=says.replace("[", r"\[")):
            item.load()


def test_pixels_that_are_missing(tmp_path: Path) -> None:
    images = pa.array([PIXELS[0].tobytes(), None], pa.binary(24))
    parquet.write_table(pa.table({"image": images}), tmp_path / "0.parquet")
    good, missing = items(tmp_path)
    np.testing.assert_array_equal(good.load(), PIXELS[0])
    with pytest.raises(UnreadableError, match="no image"):
        missing.load()


@pytest.mark.parametrize("shard_size", [1, 3, 7, 10, 11, 100])
@pytest.mark.parametrize("group_size", [1, 4, 100])
def test_any_shards_of_any_groups(tmp_path: Path, shard_size: int, group_size: int) -> None:
    """Each row comes once, with its number and its name."""
    for number, rows in enumerate((7, 0, 5, 20)):
        names = [f"{number}-{row}" if row % 2 else None for row in range(rows)]
        images = pa.array([f"{number} {row}".encode() for row in range(rows)], pa.binary())
        table = pa.table({"image": images, "name": pa.array(names, pa.string())})
        parquet.write_table(table, tmp_path / f"{number}.parquet", row_group_size=group_size)
    found = items(tmp_path, shard_size, id_column="name")
    assert [item.row for item in found] == list(range(32))
    rows = [(number, row) for number, count in ((0, 7), (2, 5), (3, 20)) for row in range(count)]
    assert [item.load() for item in found] == [f"{number} {row}".encode() for number, row in rows]
    assert [item.id for item in found] == [f"{n}-{row}" if row % 2 else f"{n}.parquet#{row}" for n, row in rows]


def test_several_columns(tmp_path: Path) -> None:
    """One must be named, unless it goes by the usual name."""
    parquet.write_table(pa.table({"x": PICTURES, "y": PICTURES[::-1], "n": range(7)}), tmp_path / "0.parquet")
    with pytest.raises(ScoringError, match="name one of x, y"):
        items(tmp_path)
    assert loaded(tmp_path, column="y") == PICTURES[::-1]
    with pytest.raises(
        ScoringError, match=r"no column 'n' with images; it has x \(binary\), y \(binary\), n \(int64\)"
    ):
        items(tmp_path, column="n")


def test_tensors_of_another_shape(tmp_path: Path) -> None:
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(PIXELS.reshape(7, 2, 4, 3))
    parquet.write_table(pa.table({"image": images}), tmp_path / "0.parquet")
    with pytest.raises(ScoringError, match=r"shape=\[2,4,3\]"):
        items(tmp_path)


DAMAGE = {
    "empty": lambda data: b"",
    "text": lambda data: b"hello",
    "truncated": lambda data: data[: len(data) // 2],
    "footer of zeros": lambda data: data[:-8] + bytes(8),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_not_parquet_is_one_row_with_an_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """As a damaged picture is; all others are read."""
    parquet.write_table(pa.table({"image": pa.array(PICTURES, pa.binary())}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(damage((tmp_path / "a.parquet").read_bytes()))
    found = items(tmp_path, shard_size=3)
    assert [item.load() for item in found[:-1]] == PICTURES
    assert [item.row for item in found] == list(range(8))
    with pytest.raises(UnreadableError, match=r"^b.parquet cannot be read as Parquet: [^\n]*$"):
        found[-1].load()


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_rows_of_damaged_pages_have_an_error(tmp_path: Path, compression: str) -> None:
    """Each of them its own, and the rows of other files are read."""
    pixels = pa.table({"image": flat(pa.list_(pa.uint8(), 24))})
    for name in ("a", "b", "c"):
        parquet.write_table(pixels, tmp_path / f"{name}.parquet", compression=compression)
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[4:end] = bytes(each ^ 0xFF for each in data[4:end])
    (tmp_path / "b.parquet").write_bytes(data)
    found = items(tmp_path)
    assert [item.row for item in found] == list(range(21))
    for item in found[7:14]:
        with pytest.raises(UnreadableError, match=r"^b.parquet cannot be read as Parquet: [^\n]*$"):
            item.load()
    np.testing.assert_array_equal(np.stack([item.load() for item in found[14:]]), PIXELS)
