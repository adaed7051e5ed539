"""A source of rows of Parquet: a column has pictures as bytes, or pixels as they are.

Pictures are `binary`, or a struct with `bytes` in it, as the `datasets` library writes them. Pixels are lists of uint8,
row by row: [H, W, C] in one list of any type, `arrow.fixed_shape_tensor` among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from model_store.manifest import InputShape
from service.errors import ScoringError, UnreadableError
from service.scoring.place import File, Place
from service.scoring.source import Item, Pixels, Shard, Span

# Rows that are read together: pictures may be large.
ROWS = 64
USUAL = "image"


@dataclass(frozen=True)
class Parquet:
    """Rows of files at a place; `column` has the images, by default the one that can, `id_column` what names them."""

    place: Place
    shape: InputShape
    column: str | None = None
    id_column: str | None = None

    def count(self, files: Sequence[File]) -> list[int]:
        return [self._count(file.name) for file in files]

    def read(self, shard: Shard) -> Iterator[Item]:
        row = shard.first
        for span in shard.spans:
            for item in self._read(span, row):
                yield item
                row += 1

    def _count(self, name: str) -> int:
        with self._opened(name) as file:
            self._column(name, file.schema_arrow)
            rows: int = file.metadata.num_rows
            return rows

    def _read(self, span: Span, row: int) -> Iterator[Item]:
        with self._opened(span.name) as file:
            column = self._column(span.name, file.schema_arrow)
            columns = [column] if self.id_column is None else [column, self.id_column]
            for number, batch in _batches(file, columns, span):
                images = batch.column(column)
                names = batch.column(self.id_column).to_pylist() if self.id_column else [None] * len(batch)
                for place, name in enumerate(names):
                    own = f"{span.name}#{number + place}" if name is None else str(name)
                    yield Item(row + number + place - span.start, own, partial(self._load, images, place))

    def _load(self, images: Any, place: int) -> bytes | Pixels:
        value = images[place]
        if isinstance(value, pa.StructScalar):
            value = value["bytes"]
        if isinstance(value, pa.ExtensionScalar):
            value = value.value
        if not value.is_valid:
            raise UnreadableError("there is no image in this row")
        if pa.types.is_list(value.type) or _is_sized_list(value.type):
            return self._pixels(value.values)
        data: bytes = value.as_py()
        return data

    def _pixels(self, values: Any) -> Pixels:
        shape = (self.shape.height, self.shape.width, self.shape.channels)
        if len(values) != shape[0] * shape[1] * shape[2] or values.null_count:
            given = f"{len(values)} values" + (", some of them null" if values.null_count else "")
            raise UnreadableError(f"the image has {given}: expected the pixels of {list(shape)}, row by row")
        pixels: Pixels = values.to_numpy(zero_copy_only=True).reshape(shape)
        return pixels

    def _column(self, name: str, schema: Any) -> str:
        """The column with the images of a file, which must have the names as well."""
        wanted: list[str] = [field.name for field in schema if self._fits(field.type)]
        if self.column is not None:
            wanted = [self.column] if self.column in wanted else []
        elif USUAL in wanted:
            wanted = [USUAL]
        if len(wanted) != 1:
            which = "no column" if self.column is None else f"no column {self.column!r}"
            what = f"several columns with images: name one of {', '.join(wanted)}" if wanted else f"{which} with images"
            raise ScoringError(f"{name} has {what}; it has {_listing(schema)}")
        if self.id_column is not None and self.id_column not in schema.names:
            raise ScoringError(f"{name} has no column {self.id_column!r}; it has {_listing(schema)}")
        return wanted[0]

    def _fits(self, kind: Any) -> bool:
        if isinstance(kind, pa.FixedShapeTensorType):
            size = [self.shape.height, self.shape.width, self.shape.channels]
            in_order = kind.permutation in (None, [0, 1, 2])
            return bool(pa.types.is_uint8(kind.value_type)) and list(kind.shape) == size and in_order
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and pa.types.is_binary(field.type) for field in kind)
        if pa.types.is_list(kind) or _is_sized_list(kind):
            return bool(pa.types.is_uint8(kind.value_type))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        try:
            with self.place.open(name) as file, parquet.ParquetFile(file) as opened:
                yield opened
        except pa.ArrowException as error:
            raise ScoringError(f"{name} cannot be read as Parquet: {_first_line(error)}") from error


def _batches(file: Any, columns: list[str], span: Span) -> Iterator[tuple[int, Any]]:
    """Rows of a span, a few at a time, each time with the number of the first; no other row group is read."""
    begin = 0
    groups: list[int] = []
    first: int | None = None
    for group in range(file.metadata.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        if begin < span.stop and end > span.start:
            groups.append(group)
            first = begin if first is None else first
        begin = end
    number = first or 0
    for batch in file.iter_batches(ROWS, row_groups=groups, columns=columns):
        low, high = max(span.start - number, 0), min(span.stop - number, len(batch))
        if low < high:
            yield number + low, batch.slice(low, high - low)
        number += len(batch)


def _is_sized_list(kind: Any) -> bool:
    tests: tuple[Callable[[Any], bool], ...] = (pa.types.is_fixed_size_list, pa.types.is_large_list)
    return any(test(kind) for test in tests)


def _listing(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
